"""What blocks change in the positions of wallets: their balance of each token, and what they
traded. Pure, and in the order of the blocks.

Balances follow transfers, which include mints and burns; the zero address has none. The basis
follows trades, see `engine/basis.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Protocol, TypeVar

from curves.values import names_of
from engine import basis
from engine.basis import NO_BASIS, Basis
from engine.messages import EventHeader
from engine.rows import BlockRows, TransactionRow, TransferRow

ZERO_ADDRESS = bytes(20)

TRADES = ("BUY", "SELL")

Place = tuple[int, bytes, bytes]
"""Version of the launchpad, token, wallet: whose position it is."""

Identity = tuple[bytes, int]
"""Transaction hash and position in it: which row it is."""


class _Row(Protocol):
    @property
    def at(self) -> EventHeader: ...


T = TypeVar("T", bound=_Row)

_FIELDS = attrgetter(
    *(name for name in names_of(TransactionRow) if name not in ("before", "after"))
)


@dataclass(frozen=True, slots=True)
class Held:
    """A position as it is recorded."""

    balance: int
    basis: Basis


NOTHING = Held(0, NO_BASIS)


@dataclass(slots=True)
class Change:
    """One position before and after, and what was traded between; amounts in base units.
    `is_new`: nothing of it is recorded. `first_buy` is the time of the first buy between.
    """

    place: Place
    balance_before: int
    balance: int
    basis: Basis
    is_new: bool = False
    trades: int = 0
    bought_tokens: int = 0
    sold_tokens: int = 0
    spent_wei: int = 0
    received_wei: int = 0
    block: int = -1
    first_buy: int | None = None

    @property
    def joined(self) -> int:
        """By how much the token's holders become more: 1, 0 or -1."""
        return (self.balance > 0) - (self.balance_before > 0)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows that are there already, of each table."""

    events: Collection[Identity] = frozenset()
    transactions: Collection[Identity] = frozenset()
    transfers: Collection[Identity] = frozenset()


def unrecorded(blocks: Sequence[BlockRows], recorded: Recorded) -> list[BlockRows]:
    """The blocks without the rows that are there already."""
    if not (recorded.events or recorded.transactions or recorded.transfers):
        return list(blocks)
    return [
        replace(
            block,
            events=_without(block.events, recorded.events),
            transactions=_without(block.transactions, recorded.transactions),
            transfers=_without(block.transfers, recorded.transfers),
            outbox=tuple(row for row in block.outbox if row.of not in recorded.events),
        )
        for block in blocks
    ]


def _without(rows: tuple[T, ...], recorded: Collection[Identity]) -> tuple[T, ...]:
    return tuple(row for row in rows if (row.at.tx_hash, row.at.position) not in recorded)


def places_of(blocks: Iterable[BlockRows]) -> set[Place]:
    """The positions that `settled` changes."""
    places: set[Place] = set()
    for block in blocks:
        places.update([_place(row) for row in block.transactions if row.type in TRADES])
        moved = [(row.at.version, row.token, row.sender, row.recipient) for row in block.transfers]
        places.update([place[:3] for place in moved if place[2] != ZERO_ADDRESS])
        places.update([(*place[:2], place[3]) for place in moved if place[3] != ZERO_ADDRESS])
    return places


def settled(
    blocks: Sequence[BlockRows], held: Mapping[Place, Held]
) -> tuple[list[BlockRows], list[Change]]:
    """(the blocks with the basis around each trade, what changes). `held` are the positions
    before the blocks; no key: nothing.
    """
    page = _Page(held)
    done = []
    for block in blocks:
        for row in block.transfers:
            page.move(row)
        done.append(replace(block, transactions=tuple(map(page.trade, block.transactions))))
    return done, list(page.changes.values())


class _Page:
    def __init__(self, held: Mapping[Place, Held]) -> None:
        self._held = held
        self.changes: dict[Place, Change] = {}

    def move(self, row: TransferRow) -> None:
        version, token, block = row.at.version, row.token, row.at.block_number
        if row.recipient != ZERO_ADDRESS:
            self._change((version, token, row.recipient), block).balance += row.amount
        if row.sender != ZERO_ADDRESS:
            self._change((version, token, row.sender), block).balance -= row.amount

    def trade(self, row: TransactionRow) -> TransactionRow:
        if row.type not in TRADES:
            return row
        assert row.eth_amount is not None and row.token_amount is not None
        change = self._change(_place(row), row.at.block_number)
        before = change.basis
        change.trades += 1
        if row.type == "BUY":
            change.basis = basis.bought(before, tokens=row.token_amount, spent_wei=row.eth_amount)
            change.bought_tokens += row.token_amount
            change.spent_wei += row.eth_amount
            if change.first_buy is None:
                change.first_buy = row.at.block_time
        else:
            change.basis = basis.sold(before, tokens=row.token_amount)
            change.sold_tokens += row.token_amount
            change.received_wei += row.eth_amount
        # Not by `replace`, which reads every field by name and is called for every trade.
        values = (*_FIELDS(row), before, change.basis)
        return TransactionRow(*values)

    def _change(self, place: Place, block: int) -> Change:
        change = self.changes.get(place)
        if change is None:
            held = self._held.get(place, NOTHING)
            is_new = place not in self._held
            change = Change(place, held.balance, held.balance, held.basis, is_new)
            self.changes[place] = change
        change.block = block
        return change


def _place(row: TransactionRow) -> Place:
    return row.at.version, row.token, row.user
