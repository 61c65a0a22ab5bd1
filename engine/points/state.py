"""What must be remembered between deeds, and what is known of people: all that `book` reads."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Window:
    """Trades of one wallet in one token within the netting time; `net` wei, sells negative.
    `because` is the deed that opened it, `version` the rules of that time.
    """

    who: bytes
    token: bytes
    opened_at: int
    closes_at: int
    net: int
    gross: int
    trades: int
    because: str
    version: int


@dataclass(frozen=True, slots=True)
class Wallet:
    """Of one wallet: its streak and creations, and what it brought to those who referred it.
    Days are UTC days since 1970; -1 none. `referred_at` is when its trades were first
    counted for a referrer.
    """

    streak_day: int = -1
    streak: int = 0
    creation_day: int = -1
    creations: int = 0
    volume: int = 0
    referred_at: int = -1
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """A wallet that has logged in. `since` and `bound_at` are unix seconds."""

    since: int
    referrer: bytes | None = None
    bound_at: int = 0


@dataclass(slots=True)
class Known:
    """What the store knew before these deeds. `codes`: a tag's owner, and since when."""

    people: dict[bytes, Person] = field(default_factory=dict)
    codes: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    wallets: dict[bytes, Wallet] = field(default_factory=dict)
    windows: dict[tuple[bytes, bytes], Window] = field(default_factory=dict)

    def is_person(self, who: bytes, time: int) -> bool:
        """Whether this wallet had logged in by then."""
        person = self.people.get(who)
        return person is not None and person.since <= time

    def referrer_of(self, who: bytes, time: int) -> bytes | None:
        """Who brought this wallet, if it had said so by then."""
        person = self.people.get(who)
        if person is None or person.referrer is None or person.bound_at > time:
            return None
        return person.referrer
