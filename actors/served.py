"""A group in a shard's hands: the markets, and what only the process knows of them."""

import asyncio
from collections import deque

from engine.group import Change, Group
from engine.limits import MAILBOX_MAX

UNSAID_BLOCKS = 2
"""The owner before may not have told these when it is fenced: they are told again."""


class Served:
    """`beat` is when the listener's head was last heard of. While it is not owned its changes
    wait in `unsaid`; those that its owner has surely told by now are left out.
    """

    def __init__(self, group: Group, now: float) -> None:
        self.group = group
        self.born = now
        self.beat = float("-inf")
        self.snapshot_block = -1
        self.caught_up = asyncio.Event()
        self._unsaid: deque[tuple[int, Change]] = deque(maxlen=MAILBOX_MAX)

    def keep(self, changes: list[Change]) -> None:
        """Changes that are not ours to tell."""
        number = self.group.position.number
        for change in changes:
            # What was taken back names the block before it.
            block = number if change.retracted else change.as_of.block_number
            self._unsaid.append((block, change))
        while self._unsaid and self._unsaid[0][0] <= number - UNSAID_BLOCKS:
            self._unsaid.popleft()

    def unsaid(self) -> list[Change]:
        """What waits, in order, and waits no more."""
        found = [change for _, change in self._unsaid]
        self._unsaid.clear()
        return found
