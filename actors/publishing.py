"""From changes to ticks: numbered per topic, fenced, each topic in order, never blocking.

A token's topic is numbered by its owner, when it is sent: `seq` without a gap within a
`generation`, which is new with each incarnation, and whenever a tick could not be published. So a
client that sees a new generation asks for a snapshot, and a gap in `seq` is always a loss it can
see.

After a seal hundreds of trades are to be told again that were told before; what they are about is
not new. So they wait behind prices and behind what is preconfirmed (`engine/lanes.py`), also of
their own topic, and go out in small parts, between which what has come meanwhile goes first. Only
what takes something back, and `status`, comes after all that its topic had to say before.

A market that is halted, and one that is served again, is told as `status`. Redis remembers
whom that was told of, so that the next owner of a market, for which it adds up, says so.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from actors.listing import Lister
from actors.ports import Log, Ticks
from actors.trade_topics import TradeTopics
from engine import text, ticks
from engine.buckets import bucket_of
from engine.errors import TransientError
from engine.group import Change, Group
from engine.lanes import Lanes
from engine.limits import MAILBOX_MAX, PARTS_AT_ONCE, RETOLD_PAUSE_S, TICKS_A_PART
from engine.market import PoolOpened, SalesResumed, SoldOut
from engine.messages import PRECONFIRMED, FeedPosition, Tick
from engine.text import token_of_topic
from engine.ticks import Draft

_NEWS = frozenset({"status", "price", "retracted"})
"""Somebody waits for these also of what is sealed."""

_LAST_WORDS = frozenset({"status", "retracted"})
"""What was told before these must not be told after them."""


@dataclass(frozen=True, slots=True)
class _Parcel:
    group: Group
    token: bytes
    bucket: int
    incarnation: int
    drafts: tuple[Draft, ...]
    again: bool


class Publisher:
    """One queue, drained by `run`, of each token in order. `lost(bucket, incarnation)` is told of a
    fence.

    `dropped` counts ticks of tokens' topics that were not published for sure. Trades that were not
    said on their topics are not counted: `TradeTopics` says them later, or that there is a gap.
    """

    def __init__(self, port: Ticks, log: Log, lost: Callable[[int, int], None]) -> None:
        self._ticks = port
        self._log = log
        self._lost = lost
        self._lanes: Lanes[_Parcel] = Lanes()
        self._waiting = asyncio.Event()
        self._urgent = asyncio.Event()
        self._through = asyncio.Event()
        self._through.set()
        self._trades = TradeTopics(port, log, lost)
        self._generations: dict[int, str] = {}
        self._halted: dict[bytes, str] = {}
        self._lister = Lister(port, log, lost)
        self._taken: asyncio.Queue[Group] = asyncio.Queue()
        self._down = False
        self.published = 0
        self.dropped = 0

    def open(self, bucket: int, incarnation: int) -> None:
        """A bucket is owned with this incarnation: its topics get a new generation. What it said
        of trades before is asked for by `resume`.
        """
        self._generations[bucket] = f"{incarnation}-{secrets.token_hex(4)}"
        self._lister.open()

    def close(self, bucket: int) -> None:
        """A bucket is not owned any more."""
        self._generations.pop(bucket, None)
        self._lister.close(bucket)
        self._trades.close(bucket)
        for token in [one for one in self._halted if bucket_of(one) == bucket]:
            del self._halted[token]

    def resume(self, group: Group) -> None:
        """A group was taken: readers who heard last that a market is halted are told when it is
        served again. Without Redis nobody is; the new owner's generation says enough. What the
        owner before did not say of trades is said.
        """
        self._taken.put_nowait(group)
        self._trades.resume(group)

    def broke_off(self, group: Group) -> None:
        """A step of the group was made in part, and nobody knows what came of that part."""
        for bucket, incarnation in group.incarnations.items():
            self.open(bucket, incarnation)
        self._trades.resume(group)

    def generation(self, bucket: int) -> str:
        """The generation of the topics of a bucket's tokens."""
        return self._generations.get(bucket, "")

    def publish(
        self, group: Group, changes: list[Change], *, back_to: FeedPosition | None = None
    ) -> None:
        """Queue the ticks of `changes`; a full queue drops and says so. `back_to` is
        how far the group went back in this step.
        """
        told = []
        for change in changes:
            made = tuple(self._drafts_of(change))
            told.append((change, made))
            first = _new_ones(change, made)
            self._put(group, change, made[:first], urgent=True)
            for at in range(first, len(made), TICKS_A_PART):
                self._put(group, change, made[at : at + TICKS_A_PART], urgent=False)
        self._trades.publish(group, told, back_to=back_to)
        self._lister.note(group, changes)

    async def run(self) -> None:
        """Drain until cancelled, each token's ticks in order."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_buckets())
            tasks.create_task(self._trades.run())
            tasks.create_task(self._run_taken())
            tasks.create_task(self._lister.run())

    async def _run_buckets(self) -> None:
        clock = asyncio.get_running_loop().time
        calm_at = float("-inf")
        while True:
            await self._waiting.wait()
            if not self._lanes.urgent and (pause_s := calm_at - clock()) > 0:
                await self._urgent_within(pause_s)
            # The slower a round trip is, the more is in it: what waits goes out in four of them.
            room = max(PARTS_AT_ONCE, len(self._lanes) // 4) if clock() >= calm_at else 0
            parcels = self._lanes.take(room)
            if not self._lanes:
                self._waiting.clear()
            try:
                if parcels:  # else they were dropped with others
                    await self._send(parcels)
            finally:
                if not self._lanes:
                    self._through.set()
            if any(parcel.again for parcel in parcels):
                calm_at = clock() + RETOLD_PAUSE_S

    async def _urgent_within(self, seconds: float) -> None:
        self._urgent.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()

    def _put(self, group: Group, change: Change, made: tuple[Draft, ...], *, urgent: bool) -> None:
        if not made:
            return
        number = group.incarnations[change.bucket]
        again = change.again and not urgent
        parcel = _Parcel(group, change.token, change.bucket, number, made, again)
        # What is told again never takes the room of what is new.
        if (self._lanes.urgent if urgent else self._lanes.calm) >= MAILBOX_MAX * (2 - urgent):
            self._drop(parcel)
            return
        is_last = any(draft.event in _LAST_WORDS for draft in made)
        self._lanes.put(change.token, parcel, urgent=urgent, behind=is_last)
        self._waiting.set()
        if urgent:
            self._urgent.set()
        self._through.clear()

    async def flush(self) -> None:
        """Wait until everything queued is sent or dropped, at most 2 s."""
        try:
            async with asyncio.timeout(2.0):
                await self._through.wait()
                await self._trades.join()
        except TimeoutError:
            self._log.warning("ticks_unsent", waiting=len(self._lanes))

    async def _send(self, parcels: list[_Parcel]) -> None:
        sent = self._numbered(parcels)
        try:
            answers = await self._ticks.publish_all(sent) if sent else []
        except TransientError as error:
            # What waits is of the generations that end here, and would be told late.
            for parcel in [*parcels, *self._lanes.take_all()]:
                self._drop(parcel)
            if not self._down:
                self._log.warning("ticks_down", error=str(error))
            self._down = True
            return
        for (bucket, incarnation, made), accepted in zip(sent, answers, strict=True):
            if accepted:
                await self._sent(made)
            else:
                self._lost(bucket, incarnation)
        if self._down:
            self._log.info("ticks_back")
        self._down = False

    def _numbered(self, parcels: list[_Parcel]) -> list[tuple[int, int, list[Tick]]]:
        # As ticks, neighbours of one bucket and incarnation together. What is of an ownership that
        # ended is nobody's to tell any more, and a topic that is forgotten has no numbers.
        found: list[tuple[int, int, list[Tick]]] = []
        for parcel in parcels:
            generation, group = self.generation(parcel.bucket), parcel.group
            if not _is_of(generation, parcel) or not group.is_numbered(parcel.token):
                self._drop(parcel)
                continue
            topic, place = text.topic_of_token(parcel.token), (parcel.bucket, parcel.incarnation)
            if not found or found[-1][:2] != place:
                found.append((*place, []))
            found[-1][2].extend(
                Tick(topic, draft.event, group.next_seq(parcel.token), generation, draft.data)
                for draft in parcel.drafts
            )
        return found

    async def _sent(self, made: list[Tick]) -> None:
        self.published += len(made)
        if any(tick.event == "status" for tick in made):
            await self._note_halted(made)

    async def _note_halted(self, made: list[Tick]) -> None:
        tokens = [token_of_topic(one.topic) for one in made if one.event == "status"]
        told = {token: self._halted.get(token, "") for token in tokens if token}
        try:
            await self._ticks.note_halted(told)
        except TransientError as error:
            self._log.warning("halts_unnoted", error=str(error))

    async def _run_taken(self) -> None:
        while True:
            group = await self._taken.get()
            try:
                told = await self._ticks.halted()
            except TransientError as error:
                self._log.warning("halts_unknown", error=str(error))
                continue
            mine = {token: why for token, why in told.items() if group.owns(token)}
            self._halted = mine | self._halted
            back = [one for one in mine if one in group.timelines and one not in group.halted]
            self.publish(group, [group.change(token) for token in back])

    def _drop(self, parcel: _Parcel) -> None:
        self.dropped += len(parcel.drafts)
        if _is_of(self.generation(parcel.bucket), parcel):
            self.open(parcel.bucket, parcel.incarnation)

    def _drafts_of(self, change: Change) -> list[Draft]:
        made: list[Draft] = []
        served = change.market is not None and not change.halted
        if self._status_changed(change, served=served):
            status = ticks.status_data(change.token, change.halted, change.as_of)
            made.append(Draft("status", status))
        if served and change.market is not None:
            # The price first: it is what somebody waits for.
            price = ticks.price_data(change.market, change.as_of, change.received_ns)
            made.append(Draft("price", price))
        # Before what came in its place: a transaction that is sealed otherwise than it was
        # preconfirmed has the same identity, and the last word on it must be the true one.
        for shown in change.retracted:
            made.append(Draft("retracted", ticks.retracted_data(shown, change.as_of)))
        if served:
            at = change.events_as_of
            shown_at = ticks.as_of_data(at)
            for effect in change.effects:
                event = ticks.event_of(effect)
                if event is not None:
                    data = ticks.transaction_data(event, at, shown_at)
                    made.append(Draft("transaction", data))
                elif isinstance(effect, SoldOut | PoolOpened | SalesResumed):
                    made.append(Draft("graduation", price))
        return made

    def _status_changed(self, change: Change, *, served: bool) -> bool:
        known = self._halted.get(change.token)
        if change.halted:
            self._halted[change.token] = change.halted
            return known is None
        if served:
            self._halted.pop(change.token, None)
        return served and known is not None


def _new_ones(change: Change, made: tuple[Draft, ...]) -> int:
    # How many of them, the first ones, somebody waits for.
    if change.events_as_of.status == PRECONFIRMED:
        return len(made)
    known = (at for at, draft in enumerate(made) if draft.event not in _NEWS)
    return next(known, len(made))


def _is_of(generation: str, parcel: _Parcel) -> bool:
    return generation.startswith(f"{parcel.incarnation}-")
