"""The shard: owns buckets, keeps their markets in memory, answers quotes from there.

Recovery, moving and scaling are one path: take the buckets in Postgres (a new incarnation),
load snapshots, replay recorded events up to the recorder's cursor, follow the listener, serve.
Another shard that held a bucket before is fenced by the incarnation from the first of these
steps on. In this order where nobody serves them, `Take`. Where somebody does, `Prepare` loads,
replays and follows first, silently, and the `Take` after it is one UPDATE. Every command may be
repeated: taking what is owned renews it, a batch of the feed applies only at its position.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from actors import publishing, recovery
from actors.ports import Buckets, Calls, Log, RecordedEvents, Snapshots, StatesOut, Ticks
from actors.replicating import Replicator
from actors.served import Served, Waiting
from engine import quoting, snapshot, standing
from engine.buckets import bucket_of
from engine.control import (
    Directory,
    Drain,
    Entries,
    EntriesWanted,
    Feed,
    Follow,
    Halt,
    MarketViews,
    Prepare,
    Prepared,
    QuoteReplies,
    Quotes,
    Release,
    StateHashes,
    StatesAt,
    StatesOf,
    StatusWanted,
    Take,
    Taken,
    Unfollow,
    Views,
)
from engine.errors import ConsistencyError, TransientError
from engine.group import Group
from engine.limits import STALE_AFTER_BLOCKS
from engine.messages import (
    BucketOwner,
    FeedPosition,
    MarketView,
    Refusal,
)
from engine.ready import Ready
from engine.settings import ActorSettings, ChainSettings
from engine.timeline import Timeline

SERVE_WAIT_S = 3.0
PREPARE_WAIT_S = 20.0
PREPARED_S_MAX = 60.0
"""Who had them prepared has died, or changed its mind."""

HOLD_S_MAX = 1.0
"""What is taken of a living owner is told from when the doors know of us, or after so long. Until
then the old one tells it, and answers; our first word would fence it."""

UNOWNED = 0
"""The incarnation of what is only followed; the first that Postgres gives is 1."""


class TokenShard:
    """Plain class; `handlers` is its whole behaviour. Answers Refusals, raises for bugs."""

    def __init__(
        self,
        *,
        name: str,
        chain: ChainSettings,
        settings: ActorSettings,
        buckets: Buckets,
        snapshots: Snapshots,
        events: RecordedEvents,
        ticks: Ticks,
        states: StatesOut,
        calls: Calls,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._name = name
        self._chain = chain
        self._settings = settings
        self._buckets = buckets
        self._snapshots = snapshots
        self._events = events
        self._calls = calls
        self._log = log
        self._clock = clock
        self._publisher = publishing.Publisher(ticks, log, self._lost)
        self._replicator = Replicator(
            states,
            log,
            groups=lambda: [one.group for one in self._served.values() if not one.is_held],
            silence_s=lambda group: self._silence_s(self._served[group.name]),
            lost=self._lost,
            wall_ns=wall_ns,
        )
        self._directory = Directory(0, (), ())
        self._served: dict[str, Served] = {}
        self._prepared = Waiting()
        self._dropped: set[str] = set()
        self._owned: dict[int, Served] = {}
        self._group_count = 0
        self._quotes = 0
        self._ready = Ready()
        self._draining = False
        self._taking = asyncio.Lock()
        self._preparing = asyncio.Lock()
        self._listener_changed = asyncio.Event()
        self._apply_ms: deque[float] = deque(maxlen=256)
        self.handlers: Mapping[type, Callable[[Any], Any]] = {
            Directory: self._route,
            Prepare: self._prepare,
            Take: self._take,
            Release: self._release,
            Feed: self._feed,
            Quotes: self._answer_quotes,
            Views: self._answer_views,
            EntriesWanted: self._entries,
            StatesAt: self._standing(standing.states_at),
            StatesOf: self._standing(standing.states_of),
            StateHashes: self._standing(standing.state_hashes),
            Halt: self._halt,
            StatusWanted: self._status,
            Drain: self._drain,
        }

    async def run(self) -> None:
        """Upkeep until cancelled: publishing, following, snapshots."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publisher.run())
            tasks.create_task(self._replicator.run())
            tasks.create_task(self._keep_following())
            tasks.create_task(self._keep_snapshots())

    @property
    def owners(self) -> tuple[tuple[int, int], ...]:
        """(bucket, incarnation) of all that is owned."""
        return tuple((b, one.group.incarnations[b]) for b, one in self._owned.items())

    # ------------------------------------------------------------------ ownership

    def _route(self, directory: Directory) -> None:
        if directory.version > self._directory.version:
            if directory.named("listener") != self._directory.named("listener"):
                self._listener_changed.set()
            self._directory = directory
            for served in [one for one in self._served.values() if one.is_held]:
                told = {(o.bucket, o.incarnation) for o in directory.owners}
                if served.group.incarnations.items() <= told:
                    self._tell(served)

    def _tell(self, served: Served) -> None:
        if served.is_held:
            group, changes = served.group, served.let_go()
            self._publisher.publish(group, [c for c in changes if c.bucket in group.incarnations])
            self._publisher.resume(group)

    async def _take(self, command: Take) -> Taken:
        # One after the other: each gets a higher incarnation than the one before it.
        async with self._taking:
            return await self._take_now(command)

    async def _take_now(self, command: Take) -> Taken:
        incarnations = await self._buckets.take(
            self._name, sorted(command.buckets), overtaken=command.overtaken
        )
        if not incarnations:
            return Taken(())  # all are another one's by now
        served = self._prepared.having(command.buckets)
        if served is None:
            served = await self._recovered(incarnations)
        else:
            del self._prepared[served.group.name]
            served.hold(served.group.own(incarnations, served.unsaid()))
            asyncio.get_running_loop().call_later(HOLD_S_MAX, self._tell, served)
        group = served.group
        self._forget(command.buckets)
        self._served[group.name] = served
        for bucket in incarnations:
            self._owned[bucket] = served
            self._publisher.open(bucket, incarnations[bucket])
        if not served.caught_up.is_set():
            await self._follow(served)
            if not await self._caught_up(served, SERVE_WAIT_S):
                self._log.warning("shard_serves_before_first_beat", group=group.name)
        if not served.is_held:
            self._publisher.resume(group)
        owners = [BucketOwner(b, self._name, i) for b, i in incarnations.items()]
        self._log.info("shard_took_buckets", group=group.name, buckets=len(owners))
        return Taken(tuple(owners))

    async def _prepare(self, command: Prepare) -> Prepared:
        async with self._preparing:
            served = self._prepared.having(command.buckets)
            if served is None:
                self._dropped |= self._prepared.give_up(command.buckets)
                served = await self._recovered(dict.fromkeys(command.buckets, UNOWNED))
                self._prepared[served.group.name] = served
                await self._follow(served)
            else:
                # It must hear of the head again.
                served.caught_up.clear()
            served.born = self._clock()
        if not await self._caught_up(served, PREPARE_WAIT_S):
            text = f"Expected the listener's head within {PREPARE_WAIT_S:g} s"
            raise TransientError("stale_chain", text)
        return Prepared(command.buckets)

    async def _recovered(self, incarnations: Mapping[int, int]) -> Served:
        self._group_count += 1
        group = await recovery.recover(
            name=f"{self._name}/{self._group_count}",
            incarnations=incarnations,
            reorg_depth=self._chain.reorg_depth_max,
            snapshots=self._snapshots,
            events=self._events,
            log=self._log,
        )
        return Served(group, self._clock())

    async def _caught_up(self, served: Served, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(served.caught_up.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _release(self, command: Release) -> None:
        lost = {
            new.bucket
            for new in command.owners
            if new.bucket in self._owned
            and new.incarnation > self._owned[new.bucket].group.incarnations[new.bucket]
        }
        self._forget(frozenset(lost))
        self._listener_changed.set()  # follow again, with what is left

    def _lost(self, bucket: int, incarnation: int) -> None:
        # The fence in Redis refused us: somebody else owns the bucket by now.
        served = self._owned.get(bucket)
        if served and served.group.incarnations.get(bucket) == incarnation:
            self._log.warning("shard_fenced", bucket=bucket, incarnation=incarnation)
            self._forget(frozenset({bucket}))

    def _forget(self, buckets: frozenset[int]) -> None:
        for bucket in buckets:
            self._owned.pop(bucket, None)
            self._publisher.close(bucket)
            self._replicator.close(bucket)
        for served in list(self._served.values()):
            served.group.drop(buckets)
            if not served.group.incarnations:
                del self._served[served.group.name]
                self._replicator.forget(served.group.name)
                self._dropped.add(served.group.name)

    # ----------------------------------------------------------------------- feed

    def _feed(self, message: Feed) -> FeedPosition:
        served = self._served.get(message.group) or self._prepared.get(message.group)
        if served is None:
            # Given away, and the listener has not heard of it yet.
            raise TransientError("shard_unavailable", f"Expected a group, was {message.group}")
        began = time.perf_counter()
        halted_before, previewed = self._halted(served), served.group.previewed
        position = served.group.position
        try:
            changes, applied = served.group.apply(message.batch)
        except ConsistencyError:
            self._broke_off(served, position)
            raise
        if applied and served.group.position.number >= message.batch.head:
            # A beat is as old as the head it tells of, however late the batch comes.
            made_ns = message.batch.head_at_ns
            age_s = max(self._wall_ns() - made_ns, 0) / 1e9 if made_ns else 0.0
            served.beat = max(served.beat, self._clock() - age_s)
            served.caught_up.set()
        if message.group in self._prepared:
            served.keep(changes)
        elif served.is_held:
            served.keep(changes)
            self._replicator.untold(served.group)
        else:
            back_to = message.batch.back_to if applied else None
            self._publisher.publish(served.group, changes, back_to=back_to)
            if applied:
                self._replicator.applied(served.group, changes, previewed)
        if changes:
            self._apply_ms.append((time.perf_counter() - began) * 1e3)
            for token, reason in self._halted(served) - halted_before:
                self._log.error("market_halted", token=token.hex(), reason=reason)
        return served.group.position

    def _broke_off(self, served: Served, position: FeedPosition) -> None:
        if served.group.name in self._served:
            self._replicator.untold(served.group)
            if served.group.position != position and not served.is_held:
                self._publisher.broke_off(served.group)

    def _halted(self, served: Served) -> set[tuple[bytes, str]]:
        return {(token, why) for token, why in served.group.halted.items()}

    async def _keep_following(self) -> None:
        # The listener forgets its consumers when it restarts; whoever hears nothing asks again.
        patience = 2 * self._chain.block_time_s
        while True:
            with contextlib.suppress(TimeoutError):
                pause = self._chain.block_time_s / 2
                await asyncio.wait_for(self._listener_changed.wait(), pause)
            changed = self._listener_changed.is_set()
            self._listener_changed.clear()
            old = self._prepared.give_up_born_before(self._clock() - PREPARED_S_MAX)
            if old:
                self._log.warning("prepared_in_vain", groups=sorted(old))
            self._dropped |= old
            await self._unfollow(self._dropped)
            for served in [*self._served.values(), *self._prepared.values()]:
                if changed or self._clock() - max(served.beat, served.born) > patience:
                    await self._follow(served)

    async def _follow(self, served: Served) -> None:
        group = served.group
        follow = Follow(
            self._name, group.name, group.position, frozenset(group.incarnations), group.trail()
        )
        for listener in self._directory.named("listener"):
            try:
                await self._calls.ask(listener.name, follow, timeout_s=1.0)
            except Exception as error:
                self._log.warning("shard_cannot_follow", error=str(error))

    async def _unfollow(self, groups: set[str]) -> None:
        while groups:
            unfollow = Unfollow(self._name, groups.pop())
            for listener in self._directory.named("listener"):
                try:
                    await self._calls.ask(listener.name, unfollow, timeout_s=1.0)
                except Exception as error:
                    self._log.warning("shard_cannot_unfollow", error=str(error))

    # -------------------------------------------------------------------- answers

    def _answer_quotes(self, message: Quotes) -> QuoteReplies:
        self._quotes += len(message.requests)
        return QuoteReplies(quoting.answers(message.requests, self._quotable))

    def _quotable(self, token: bytes, sealed: bool) -> quoting.Quotable | Refusal:
        bucket = bucket_of(token)
        found = self._find(token, bucket)
        if isinstance(found, Refusal):
            return found
        group, timeline = found[0].group, found[1]
        ready = self._ready.of(group, timeline, token=token, bucket=bucket, sealed=sealed)
        return ready or _unknown(bucket, group.incarnations[bucket])

    def _answer_views(self, message: Views) -> MarketViews:
        return MarketViews(tuple(self._view(token) for token in message.tokens))

    def _view(self, token: bytes) -> MarketView | Refusal:
        bucket = bucket_of(token)
        found = self._find(token, bucket)
        if isinstance(found, Refusal):
            return found
        served, timeline = found
        as_of = served.group.as_of(timeline, bucket)
        return quoting.view(timeline.current, as_of=as_of, bucket=bucket)

    def _find(self, token: bytes, bucket: int) -> tuple[Served, Timeline] | Refusal:
        served = self._owned.get(bucket)
        if served is None or self._draining:
            return Refusal("shard_unavailable", "Expected the owner of this bucket", bucket)
        incarnation = served.group.incarnations[bucket]
        if self._silence_s(served) > STALE_AFTER_BLOCKS * self._chain.block_time_s:
            text = f"Expected a block every {self._chain.block_time_s} s, none came"
            return Refusal("stale_chain", text, bucket, incarnation)
        timeline = served.group.timelines.get(token)
        broken = timeline.halted if timeline else served.group.broken.get(token)
        if broken is not None:
            text = f"Expected a market that adds up: {broken}"
            return Refusal("market_halted", text, bucket, incarnation)
        if timeline is None or (timeline.sealed is None and timeline.quoted is None):
            return _unknown(bucket, incarnation)
        return served, timeline

    def _silence_s(self, served: Served) -> float:
        return self._clock() - served.beat

    def _entries(self, message: EntriesWanted) -> Entries:
        owned = [(token, bucket_of(token)) for token in message.tokens]
        return Entries(
            tuple(
                self._replicator.entry(self._owned[bucket].group, token, bucket)
                for token, bucket in owned
                if bucket in self._owned and not self._draining
            )
        )

    def _standing(self, answer: Callable[[list[Group], Any], Any]) -> Callable[[Any], Any]:
        return lambda message: answer([one.group for one in self._served.values()], message)

    def _halt(self, message: Halt) -> bool:
        served = self._owned.get(bucket_of(message.token))
        halted = served is not None and served.group.halt(message.token, message.reason)
        if halted:
            token, reason = message.token.hex(), message.reason
            self._log.error("market_halted", token=token, reason=reason)
        if halted and served is not None:
            self._tell(served)
            changes = [served.group.change(message.token)]
            self._publisher.publish(served.group, changes)
            self._replicator.applied(served.group, changes)
        return halted

    def _status(self, _: StatusWanted) -> dict[str, Any]:
        now = self._clock()
        beats = [now - one.beat for one in self._served.values() if one.caught_up.is_set()]
        return {
            "buckets": len(self._owned),
            "buckets_prepared": sum(len(s.group.incarnations) for s in self._prepared.values()),
            "markets": sum(len(one.group.timelines) for one in self._served.values()),
            "halted_markets": sum(len(one.group.halted) for one in self._served.values()),
            "quotes": self._quotes,
            "block": min((s.group.position.number for s in self._served.values()), default=-1),
            "beat_age_s": round(max(beats, default=-1.0), 3),
            "ticks": self._publisher.published,
            "ticks_dropped": self._publisher.dropped,
            "states": self._replicator.published,
            "states_dropped": self._replicator.dropped,
            "apply_ms_max": round(max(self._apply_ms, default=0.0), 3),
        }

    # ------------------------------------------------------------------ snapshots

    async def _keep_snapshots(self) -> None:
        while True:
            await asyncio.sleep(self._chain.block_time_s)
            for served in list(self._served.values()):
                age = served.group.base - served.snapshot_block
                if served.group.base > 0 and age >= self._settings.snapshot_every_blocks:
                    await self._save(served)

    async def _save(self, served: Served) -> None:
        group = served.group
        base = group.base
        base_hash = group.hashes.get(base)
        if base_hash is None or base <= served.snapshot_block:
            return
        pages = snapshot.markets_at(group, base)
        dirty = frozenset(pages)
        try:
            for bucket, markets in pages.items():
                if bucket in group.incarnations:
                    await self._snapshots.save(
                        bucket=bucket,
                        incarnation=group.incarnations[bucket],
                        block_number=base,
                        block_hash=base_hash,
                        schema=snapshot.SCHEMA,
                        payload=snapshot.to_bytes(markets),
                    )
        except Exception as error:
            self._log.warning("snapshot_failed", error=str(error))
            return
        served.snapshot_block = base
        # Changes above the base are not in the snapshot: those buckets stay dirty.
        group.dirty -= dirty - group.buckets_in_window()

    async def _drain(self, _: Drain) -> None:
        self._draining = True
        self._replicator.stop()
        for served in list(self._served.values()):
            self._tell(served)
            await self._save(served)
        await self._unfollow(self._dropped | self._served.keys() | self._prepared.keys())
        await self._publisher.flush()


def _unknown(bucket: int, incarnation: int) -> Refusal:
    return Refusal("token_not_found", "Expected a launched token", bucket, incarnation)
