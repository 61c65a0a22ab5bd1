"""The topics of all trades and of wallets: each sealed trade said once, whoever owns its bucket.

Redis keeps a mark for each bucket with the messages (`engine/said.py`), so a bucket is in one of
two states. It is current: what happens is said as it happens. Or it is behind: taken, or not
heard by Redis for a while, or there was no room; then nothing of it is said until its mark was
asked for. What was said as preconfirmed and did not come true is taken back then, and what follows
the mark is said from the memory of its group. A trade that is said again, by whom it may, is left
out where the mark is. The mark of a quiet bucket is lifted twice in a window, so that whoever comes
next can tell whether its block is on the chain.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from actors.ports import Log, Ticks
from engine import said, ticks
from engine.errors import TransientError
from engine.group import Change, Group
from engine.limits import BUCKETS, MAILBOX_MAX, SAID_AT_ONCE
from engine.messages import PRECONFIRMED, FeedPosition
from engine.said import OVERTAKEN, UNCLAIMED, Back, Claim, Gap, Item, Lift, Mark, Telling, ToSay
from engine.ticks import Draft

PRICES_FIRST_S = 0.03
"""They wait this long for each other, so that prices go first on a small machine."""

ROUND_S = 0.04
"""Between two rounds, while there is always something to say: each costs Redis and every door as
much as the trades that are in it (at 500 trades a second, and two shards)."""

AGAIN_S = 0.2
"""Between two questions for marks: Redis is away, or a mark is ahead of where a group stands."""


class TradeTopics:
    """One queue, drained in order by `run`. `lost(bucket, incarnation)` is told of a fence."""

    def __init__(self, port: Ticks, log: Log, lost: Callable[[int, int], None]) -> None:
        self._ticks = port
        self._log = log
        self._lost = lost
        self._queue: asyncio.Queue[ToSay] = asyncio.Queue(MAILBOX_MAX)
        self._groups: dict[int, Group] = {}
        self._behind: set[int] = set()
        self._claims: dict[int, int] = {}
        self._lifted: dict[str, int] = {}
        self._owing: dict[int, Gap] = {}
        self._look = asyncio.Event()
        self._down = False

    def resume(self, group: Group) -> None:
        """Its buckets are behind: ask how far they were said, and go on from there."""
        for bucket in group.incarnations:
            self._groups[bucket] = group
            self._fall_behind(bucket)
        names = {one.name for one in self._groups.values()}
        self._lifted = {name: block for name, block in self._lifted.items() if name in names}

    def close(self, bucket: int) -> None:
        """A bucket is not owned any more."""
        self._groups.pop(bucket, None)
        self._behind.discard(bucket)
        self._owing.pop(bucket, None)
        self._claims[bucket] = self._claims.get(bucket, 0) + 1

    def publish(
        self,
        group: Group,
        told: Iterable[tuple[Change, Sequence[Draft]]],
        *,
        back_to: FeedPosition | None = None,
    ) -> None:
        """What came of one step of the group; `back_to` is how far it went back in it."""
        items: dict[int, list[Item]] = {}
        if back_to is not None:
            # Also where nothing was taken back: the mark may name a block that was.
            items = {bucket: [Back(back_to)] for bucket in group.incarnations}
        for change, made in told:
            found = _items_of(change, made)
            if found:
                items.setdefault(change.bucket, []).extend(found)
        for bucket in {change.bucket for change, made in told if _is_status(made)}:
            # Nobody says its trades from here on, or did until now. Owed until it is said.
            self._owing[bucket] = gap = Gap(group.position)
            items.setdefault(bucket, []).append(gap)
        for bucket, mine in items.items():
            if self._is_current(bucket, group) and not self._put(group, bucket, mine):
                self._fall_behind(bucket)
        for bucket in self._due_to_lift(group):
            self._put(group, bucket, [Lift(group.position)])

    async def run(self) -> None:
        """Say, and ask how far was said, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_saying())
            tasks.create_task(self._run_asking())

    async def join(self) -> None:
        """Wait until everything queued is said, or its bucket is behind."""
        await self._queue.join()

    # ------------------------------------------------------------------- private

    def _is_current(self, bucket: int, group: Group) -> bool:
        return self._groups.get(bucket) is group and bucket not in self._behind

    def _due_to_lift(self, group: Group) -> list[int]:
        # Each in its turn, so that it is a few in every block.
        here, every = group.position.number, max(group.reorg_depth // 2, 1)
        last = self._lifted.get(group.name, here)
        self._lifted[group.name] = here
        blocks = range(max(last, here - every) + 1, here + 1)
        due = (bucket for block in blocks for bucket in range(block % every, BUCKETS, every))
        return [bucket for bucket in due if self._is_current(bucket, group)]

    def _fall_behind(self, bucket: int) -> None:
        self._behind.add(bucket)
        # What waits of it would move the mark over what is missing, and what is under way may yet
        # be said when what comes after it was.
        self._claims[bucket] = self._claims.get(bucket, 0) + 1
        self._look.set()

    def _put(self, group: Group, bucket: int, items: Sequence[Item]) -> bool:
        made = ToSay(bucket, group.incarnations[bucket], self._claims[bucket], tuple(items))
        try:
            self._queue.put_nowait(made)
        except asyncio.QueueFull:
            return False
        return True

    async def _run_saying(self) -> None:
        loop = asyncio.get_running_loop()
        round_at = float("-inf")
        while True:
            is_left = not self._queue.empty()
            parcels = [await self._queue.get()]
            if not is_left:  # what did not fit into a round does not wait for the next one
                await asyncio.sleep(max(PRICES_FIRST_S, round_at - loop.time()))
                round_at = loop.time() + ROUND_S
            count = len(parcels[0].items)
            while not self._queue.empty() and count < SAID_AT_ONCE:
                parcels.append(self._queue.get_nowait())
                count += len(parcels[-1].items)
            try:
                await self._say([one for one in parcels if self._is_due(one)])
            finally:
                for _ in parcels:
                    self._queue.task_done()

    def _is_due(self, parcel: ToSay) -> bool:
        return self._claims.get(parcel.bucket) == parcel.claim

    async def _say(self, parcels: list[ToSay]) -> None:
        if not parcels:
            return
        try:
            answers = await self._ticks.say_trades(parcels)
        except TransientError as error:
            self._note_down(error)
            for parcel in parcels:
                if self._is_due(parcel):
                    self._fall_behind(parcel.bucket)
            return
        for parcel, answer in zip(parcels, answers, strict=True):
            if answer == OVERTAKEN:
                self._lost(parcel.bucket, parcel.incarnation)
            elif answer == UNCLAIMED:
                if self._is_due(parcel):  # Redis forgot the claim
                    self._fall_behind(parcel.bucket)
            elif any(item is self._owing.get(parcel.bucket) for item in parcel.items):
                del self._owing[parcel.bucket]

    async def _run_asking(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            if not self._behind:
                continue
            try:
                await self._catch_up()
            except TransientError as error:
                self._note_down(error)
            else:
                self._note_back()
            if self._behind:
                await asyncio.sleep(AGAIN_S)
                self._look.set()

    async def _catch_up(self) -> None:
        asked = [(bucket, self._groups[bucket]) for bucket in sorted(self._behind)]
        claims = [
            Claim(bucket, group.incarnations[bucket], self._claims[bucket], group.position)
            for bucket, group in asked
        ]
        answers = await self._ticks.claim_said(claims)
        marks: dict[str, dict[int, Mark]] = {}
        groups: dict[str, Group] = {}
        for (bucket, group), claim, mark in zip(asked, claims, answers, strict=True):
            if self._groups.get(bucket) is not group or self._claims[bucket] != claim.number:
                continue  # given away meanwhile, or behind anew
            if mark is None:
                self._lost(bucket, claim.incarnation)
            else:
                groups[group.name] = group
                marks.setdefault(group.name, {})[bucket] = mark
        for name, known in marks.items():
            self._go_on(groups[name], known)

    def _go_on(self, group: Group, marks: dict[int, Mark]) -> None:
        gaps = 0
        for bucket, found in said.following(group, marks).items():
            is_gap = found.gap or bucket in self._owing
            parcels = [_taken_back(group, found.taken_back)] if found.taken_back else []
            if is_gap:
                self._owing[bucket] = gap = Gap(group.position)
                parcels.append([gap])
            else:
                parcels += _by_block(group, found.events)
            if all(self._put(group, bucket, items) for items in parcels):
                self._behind.discard(bucket)
            gaps += is_gap
        if gaps:
            self._log.warning("trades_gap", group=group.name, buckets=gaps)

    def _note_down(self, error: TransientError) -> None:
        if not self._down:
            self._log.warning("trades_down", error=str(error))
        self._down = True

    def _note_back(self) -> None:
        if self._down:
            self._log.info("trades_back")
        self._down = False


def _items_of(change: Change, made: Sequence[Draft]) -> list[Item]:
    at = change.events_as_of
    sealed_in = None
    if at.status != PRECONFIRMED and at.block_hash is not None:
        sealed_in = FeedPosition(at.block_number, at.block_hash)
    back: list[Item] = [Telling(t.event, t.data) for t in made if t.event == "retracted"]
    if change.back_to is not None:
        back.append(Back(change.back_to))
    new = [Telling(t.event, t.data, sealed_in) for t in made if t.event == "transaction"]
    return back + new


def _is_status(made: Iterable[Draft]) -> bool:
    # A market is halted, or served again.
    return any(tick.event == "status" for tick in made)


def _taken_back(group: Group, shown: Iterable[dict[str, Any]]) -> list[Item]:
    found: list[Item] = []
    for one in shown:
        as_of = said.as_of_now(group, bytes.fromhex(one["tokenAddress"][2:]))
        data = ticks.taken_back_data(one, as_of)
        found.append(Telling("retracted", data, only_open=True))
    return found


def _by_block(group: Group, events: Sequence[said.Sayable]) -> list[list[Item]]:
    # One parcel a block: the mark is compared as it was before the parcel.
    found = []
    for _, mine in groupby(events, key=lambda event: event.at.block_number):
        items: list[Item] = []
        for event in mine:
            as_of = said.as_of(group, event)
            assert as_of.block_hash is not None
            block = FeedPosition(as_of.block_number, as_of.block_hash)
            items.append(Telling("transaction", ticks.transaction_data(event, as_of), block))
        found.append(items)
    return found
