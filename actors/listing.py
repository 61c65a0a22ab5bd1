"""The list of tokens as it changes: rows of this shard's markets, handed on about once a second.

Redis holds what waits, of all shards together, and lets out one numbered message an interval
(`storage/lua/sample.lua`): so a list has one message a second however many shards there are,
and each gateway hears the same. A row is a state: a later one takes the place of one that still
waits, and handing one on twice says nothing new. An owner that was overtaken is refused there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from actors.ports import Log, Ticks
from engine import ticks
from engine.errors import TransientError
from engine.group import Change, Group
from engine.limits import LISTED_EVERY_MS, LISTED_ROWS_MAX, LISTED_WAITING_MAX
from engine.market import Launched
from engine.messages import ListedRow

PAUSE_MIN_S = 0.05


@dataclass(slots=True)
class _Waiting:
    # Made into a row when it is handed on: most changes give way before that.
    change: Change
    incarnation: int
    launch: dict[str, object] | None


class Lister:
    """Keeps the newest change of each market until its row was handed on.

    `lost(bucket, incarnation)` is told of a fence.
    """

    def __init__(self, port: Ticks, log: Log, lost: Callable[[int, int], None]) -> None:
        self._ticks = port
        self._log = log
        self._lost = lost
        self._rows: dict[bytes, _Waiting] = {}
        self._left_out = 0
        self._look = asyncio.Event()
        self._down = False

    def note(self, group: Group, changes: list[Change]) -> None:
        """These markets changed."""
        for change in changes:
            known = self._rows.get(change.token)
            if known is None and len(self._rows) >= LISTED_WAITING_MAX:
                self._left_out += 1
                continue
            launch = _launch(change) or (known.launch if known else None)
            incarnation = group.incarnations[change.bucket]
            self._rows[change.token] = _Waiting(change, incarnation, launch)
        if changes:
            self._look.set()

    def open(self) -> None:
        """Buckets were taken: the owner before may have left rows that wait."""
        self._look.set()

    def close(self, bucket: int) -> None:
        """A bucket is not owned any more: its rows are not ours to tell."""
        for token in [t for t, one in self._rows.items() if one.change.bucket == bucket]:
            del self._rows[token]

    async def run(self) -> None:
        """Hand on until cancelled."""
        while True:
            await self._look.wait()
            self._look.clear()
            await asyncio.sleep(max(await self.hand_on(), PAUSE_MIN_S))

    async def hand_on(self) -> float:
        """Hand on what there is; the seconds until there is a reason to do it again."""
        batch = [self._rows.pop(token) for token in list(self._rows)[:LISTED_ROWS_MAX]]
        left_out, self._left_out = self._left_out, 0
        try:
            done = await self._ticks.sample([_row(one) for one in batch], left_out=left_out)
        except TransientError as error:
            self._keep(batch, left_out, str(error))
            return LISTED_EVERY_MS / 1e3
        if self._down:
            self._log.info("list_back")
        self._down = False
        for bucket, incarnation in done.refused:
            self._lost(bucket, incarnation)
        if done.waiting or self._rows:
            self._look.set()
        return 0.0 if self._rows else done.due_s

    def _keep(self, batch: list[_Waiting], left_out: int, error: str) -> None:
        # Whether they went out is not known. A newer row of the same market stands already.
        for one in batch:
            newer = self._rows.setdefault(one.change.token, one)
            newer.launch = newer.launch or one.launch
        self._left_out += left_out
        self._look.set()
        if not self._down:
            self._log.warning("list_down", error=error)
        self._down = True


def _row(waiting: _Waiting) -> ListedRow:
    change = waiting.change
    row = ticks.listed_data(change.token, change.market, change.as_of, halted=change.halted)
    return ListedRow(change.token, change.bucket, waiting.incarnation, row, waiting.launch)


def _launch(change: Change) -> dict[str, object] | None:
    launches = [one.event for one in change.effects if isinstance(one, Launched)]
    return ticks.launch_data(launches[-1]) if launches else None
