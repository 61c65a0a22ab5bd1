"""A group in a shard's hands: the markets, and what only the process knows of them."""

import asyncio
from collections import deque
from collections.abc import Iterable

from engine.group import Change, Group
from engine.limits import MAILBOX_MAX

UNSAID_BLOCKS = 2
"""The owner before may not have told these when it is fenced: topics of tokens tell them again, in
a generation of their own. What topics of trades have to say stands by their mark."""


class Served:
    """`beat` is when the listener's head was last heard of. While it is not owned, and while
    it `is_held`, changes wait in `unsaid`; those that its owner has surely told are left out.
    """

    def __init__(self, group: Group, now: float) -> None:
        self.group = group
        self.born = now
        self.beat = float("-inf")
        self.snapshot_block = -1
        self.caught_up = asyncio.Event()
        self.is_held = False
        self._unsaid: deque[tuple[int, Change]] = deque(maxlen=MAILBOX_MAX)

    def keep(self, changes: list[Change]) -> None:
        """Changes that are not ours to tell."""
        number = self.group.position.number
        for change in changes:
            # What was taken back names the block before it.
            block = number if change.retracted else change.as_of.block_number
            self._unsaid.append((block, change))
        if self.is_held:
            return  # whoever was the owner may die before it has told them
        while self._unsaid and self._unsaid[0][0] <= number - UNSAID_BLOCKS:
            self._unsaid.popleft()

    def unsaid(self) -> list[Change]:
        """What waits, in order, and waits no more."""
        found = [change for _, change in self._unsaid]
        self._unsaid.clear()
        return found

    def hold(self, changes: list[Change]) -> None:
        """Owned from now on, these changes and later ones untold until `let_go`."""
        self.is_held = True
        self.keep(changes)

    def let_go(self) -> list[Change]:
        """What waited; what comes is told at once."""
        self.is_held = False
        return self.unsaid()


class Waiting(dict[str, Served]):
    """Groups that are prepared and not owned, by name."""

    def having(self, buckets: frozenset[int]) -> Served | None:
        """The one that has all of these."""
        found = (one for one in self.values() if buckets <= one.group.incarnations.keys())
        return next(found, None)

    def give_up(self, buckets: frozenset[int]) -> set[str]:
        """Those with some of these go; their names."""
        return self._gone(n for n, one in self.items() if buckets & one.group.incarnations.keys())

    def give_up_born_before(self, time_s: float) -> set[str]:
        """Those that nobody asked for since go; their names."""
        return self._gone(name for name, one in self.items() if one.born < time_s)

    def _gone(self, names: Iterable[str]) -> set[str]:
        gone = set(names)
        for name in gone:
            del self[name]
        return gone
