"""What must hold of both vaults' books, whatever happens. Pure; every figure is wei.

Of one vault: it holds at least what it owes. Between the two: what the one released was
deposited at the other, and what was given back there was not released here; so `released` must
be read before the other's books are.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A vault's own counters and what it really holds."""

    balance: int
    liquidity: int
    deposited: int
    released: int
    refunded: int
    unclaimed: int
    fees: int

    @property
    def owed(self) -> int:
        """What it must hold."""
        pool = self.liquidity + self.deposited - self.released - self.refunded
        return pool + self.unclaimed + self.fees


def fault_of(books: Books) -> str:
    """What is wrong with one vault, empty if nothing is."""
    if books.liquidity + books.deposited < books.released + books.refunded:
        return f"Expected no more out than in, was {books}"
    if books.balance < books.owed:
        return f"Expected a balance of at least {books.owed}, was {books.balance}"
    return ""


class Paid(Protocol):
    """A vault's counters, as far as they are compared with the other's."""

    @property
    def deposited(self) -> int: ...
    @property
    def refunded(self) -> int: ...


def fault_between(released: int, source: Paid) -> str:
    """What is wrong between a target's `released` and the source's books, read after it."""
    if released + source.refunded > source.deposited:
        return (
            f"Expected at most {source.deposited} deposited to be paid, was {released} released"
            f" and {source.refunded} refunded"
        )
    return ""
