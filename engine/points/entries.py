"""What is put down: rows of the ledger of points and of the ledger of shares that are owed."""

from dataclasses import dataclass, field

from engine.points.rules import DAY_S


@dataclass(frozen=True, slots=True)
class Deed:
    """What happened on the chain, final: `kind` is trade, create, graduate or bridge.

    `wei` is the volume without fees, negative for a sell; `fee` the protocol's part that was
    paid. `key` names it for ever: chain, transaction and position in it.
    """

    key: str
    kind: str
    time: int
    block: int
    who: bytes
    token: bytes
    wei: int = 0
    fee: int = 0
    tag: bytes = b""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of points, in millionths. `key` is the same whenever it is worked out again."""

    key: str
    rule: str
    version: int
    season: str
    who: bytes
    micro: int
    time: int
    because: str
    token: bytes = b""
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def day(self) -> int:
        """UTC days since 1970."""
        return self.time // DAY_S


@dataclass(frozen=True, slots=True)
class Owed:
    """A share of a fee that was paid, in wei, owed to `who` for what `referee` traded."""

    key: str
    version: int
    who: bytes
    referee: bytes
    level: int
    wei: int
    time: int
    because: str
    token: bytes
