"""What a wallet would be given for what is not counted yet: a view, worked out on reading by the
same book, and never written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.points.book import Book
from engine.points.entries import Deed, Entry
from engine.points.rules import RuleBook
from engine.points.state import Known

NEVER = 2**62
"""A chain's time at which every window is closed."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Of one wallet in one season: millionths of points in all, and by rule."""

    micro: int
    by_rule: dict[str, int]


def pending(
    rules: RuleBook, known: Known, deeds: Sequence[Deed], *, who: bytes, season: str
) -> Pending:
    """If `deeds` became final as they are and nothing else was done: its rows for them, and for
    the windows in `known` that are still open. Changes `known` in place, as a `Book` does.
    """
    book = Book(rules, known)
    book.write([deed for deed in deeds if deed.kind != "bridge"], now=NEVER)
    # Counted beside the others, as by the ledger: their times are another chain's, and close no
    # window.
    beside = Book(rules, Known(people=known.people))
    beside.write([deed for deed in deeds if deed.kind == "bridge"], now=-1)
    entries = [*book.entries, *beside.entries]
    mine = [entry for entry in entries if (entry.who, entry.season) == (who, season)]
    return Pending(sum(entry.micro for entry in mine), _by_rule(mine))


def _by_rule(entries: Sequence[Entry]) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in entries:
        found[entry.rule] = found.get(entry.rule, 0) + entry.micro
    return found
