"""Fakes of what is handed in to the roles; each a few lines, each with a way to fail."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

from engine import placement
from engine.adoption import Found
from engine.buckets import bucket_of
from engine.control import Instance, Ping, Pong, Wanted
from engine.errors import TransientError
from engine.messages import BucketOwner, FeedPosition, MarketEvent, Sampled
from engine.placement import Node
from engine.said import OVERTAKEN, SAID, UNCLAIMED, Back, Gap, Lift, Mark
from engine.states import Published


class Log:
    """Collects (event, fields)."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((event, fields))

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


class Buckets:
    """Postgres' bucket_owner; `down` makes it unreachable."""

    def __init__(self) -> None:
        self.rows: dict[int, BucketOwner] = {}
        self.down = False

    async def take(self, owner, buckets, *, overtaken=None):
        if self.down:
            raise TransientError("store_unavailable", "down")
        taken = {}
        for bucket in buckets:
            before = self.rows.get(bucket)
            other = before is not None and before.owner != owner
            if other and overtaken is not None and before.incarnation > overtaken.get(bucket, 0):
                continue
            taken[bucket] = before.incarnation + 1 if before else 1
            self.rows[bucket] = BucketOwner(bucket, owner, taken[bucket])
        return taken

    async def owners(self):
        return list(self.rows.values())


class WantedNumbers:
    """The row of how many are wanted; `down` makes Postgres unreachable."""

    def __init__(self, shards: int = 2, gateways: int = 1) -> None:
        self.now = Wanted(shards, gateways, 0)
        self.down = False

    async def read(self):
        if self.down:
            raise TransientError("store_unavailable", "down")
        return self.now

    async def write(self, change):
        await self.read()
        asked = {name: value for name, value in asdict(change).items() if value is not None}
        self.now = replace(self.now, **asked)
        return self.now


class Snapshots:
    """Snapshots fenced by `Buckets`, newest first."""

    def __init__(self, owners: Buckets) -> None:
        self.owners = owners
        self.rows: dict[int, list[Any]] = defaultdict(list)
        self.refused = 0

    async def save(self, *, bucket, incarnation, **row):
        if self.owners.rows[bucket].incarnation != incarnation:
            self.refused += 1
            return False
        self.rows[bucket].insert(0, SimpleNamespace(bucket=bucket, **row))
        return True

    async def load(self, buckets):
        return {bucket: self.rows[bucket] for bucket in buckets if self.rows[bucket]}


class Events:
    """The recorded events and the recorder's cursor, one block behind the chain."""

    def __init__(self) -> None:
        self.rows: list[MarketEvent] = []
        self.at = FeedPosition(-1, bytes(32))
        self.blocks: list[FeedPosition] = []
        self.read = 0
        self.next = None

    def record(self, block) -> None:
        block, self.next = self.next, block
        if block is None:
            return
        self.rows += [event for event in block.events if isinstance(event, MarketEvent)]
        self.at = FeedPosition(block.header.number, block.header.hash)
        self.blocks.append(self.at)

    async def position(self):
        return self.at

    async def trail(self, limit):
        return self.blocks[::-1][:limit]

    async def market_events(self, buckets, *, after_block, upto_block):
        wanted = [
            event
            for event in self.rows
            if bucket_of(event.token) in buckets
            and after_block < event.at.block_number <= upto_block
        ]
        self.read += len(wanted)
        for start in range(0, len(wanted), 100):
            yield wanted[start : start + 100]


class Said:
    """Redis as far as marks of what was said go; `answers_lost` says it, and does not answer."""

    def __init__(self) -> None:
        self.fence: dict[int, int] = {}
        self.claims: dict[int, tuple[int, int]] = {}
        self.counted: list[Any] = []
        self.marks: dict[int, FeedPosition] = {}
        self.open: dict[int, dict[tuple[str, int], dict[str, Any]]] = {}
        self.began: dict[int, FeedPosition] = {}
        self.gaps = 0
        self.down = self.answers_lost = False

    async def say_trades(self, parcels):
        if self.down:
            raise TransientError("store_unavailable", "down")
        answers = [self._say(one) for one in parcels]
        if self.answers_lost:
            raise TransientError("store_unavailable", "no answer")
        return answers

    def _say(self, parcel):
        if self.fence.get(parcel.bucket, 0) > parcel.incarnation:
            return OVERTAKEN
        if self.claims.get(parcel.bucket) != (parcel.incarnation, parcel.claim):
            return UNCLAIMED
        self.fence[parcel.bucket] = parcel.incarnation
        self._say_items(parcel.bucket, parcel.items)
        return SAID

    def _say_items(self, bucket, items):
        before = self.marks.get(bucket, FeedPosition(-2, b""))
        upto, mark, waiting = before.number, before, self.open.setdefault(bucket, {})
        for item in items:
            if isinstance(item, Back):
                upto = min(upto, item.to.number)
                mark = item.to if mark.number > item.to.number else mark
            elif isinstance(item, Gap):
                upto, mark = item.at.number, item.at
                waiting.clear()
                self.gaps += 1
            elif isinstance(item, Lift):
                mark = item.to if mark.number < item.to.number else mark
            else:
                identity = item.data["txHash"], item.data["position"]
                if waiting.pop(identity, None) is None and item.only_open:
                    continue
                if item.sealed_in is None and item.event == "transaction":
                    waiting[identity] = item.data
                if item.sealed_in is not None and item.sealed_in.number <= upto:
                    continue
                wallet = f"user:{item.data['userAddress']}".lower()
                self.counted.append(("trades", item.event, item.data))
                self.counted.append((wallet, "user", {"event": item.event} | item.data))
                mark = item.sealed_in or mark
        if mark != before:
            self.marks[bucket] = mark

    async def claim_said(self, claims):
        if self.down or self.answers_lost:
            raise TransientError("store_unavailable", "down")
        return [self._claim(one) for one in claims]

    def _claim(self, claim):
        bucket, incarnation, at = claim.bucket, claim.incarnation, claim.at
        if self.fence.get(bucket, 0) > incarnation:
            return None
        self.fence[bucket] = incarnation
        before = self.claims.get(bucket, (0, 0))
        self.claims[bucket] = max(before, (incarnation, claim.number))
        self.began.setdefault(bucket, at)
        mark = self.marks.setdefault(bucket, at)
        return Mark(mark, tuple(self.open.get(bucket, {}).values()))


class Ticks(Said):
    """Redis with its fence."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Any] = []
        self.listed: list[Any] = []
        self.left_out = 0
        self.halts: dict[bytes, str] = {}

    async def publish_all(self, parcels):
        if self.down:
            raise TransientError("store_unavailable", "down")
        return [self._publish(*parcel) for parcel in parcels]

    def _publish(self, bucket, incarnation, ticks):
        if self.fence.get(bucket, 0) > incarnation:
            return False
        self.fence[bucket] = incarnation
        self.sent += ticks
        return True

    async def sample(self, rows, *, left_out=0):
        if self.down:
            raise TransientError("store_unavailable", "down")
        fresh = [row for row in rows if row.incarnation >= self.fence.get(row.bucket, 0)]
        self.listed += fresh
        self.left_out += left_out
        refused = {(row.bucket, row.incarnation) for row in rows if row not in fresh}
        return Sampled(tuple(refused), 0, 0.0)

    async def halted(self):
        return dict(self.halts)

    async def note_halted(self, tokens):
        self.halts = {t: why for t, why in (self.halts | tokens).items() if why}


class States:
    """What shards tell read replicas; `heard` doors listen, to no bucket in `deaf`."""

    def __init__(self, heard: int = 1) -> None:
        self.sent: list[Any] = []
        self.heard = heard
        self.deaf: set[int] = set()
        self.overtaken: set[tuple[int, int]] = set()
        self.down = False

    async def publish(self, messages):
        if self.down:
            raise TransientError("store_unavailable", "down")
        self.sent += messages
        return Published(tuple(self.overtaken), self.heard)

    async def doors(self, buckets):
        if self.down:
            raise TransientError("store_unavailable", "down")
        return {bucket: 0 if bucket in self.deaf else self.heard for bucket in buckets}


class Calls:
    """Roles by name; a name in `dead` has died, one in `silent` does not answer."""

    def __init__(self) -> None:
        self.roles: dict[str, Any] = {}
        self.dead: set[str] = set()
        self.silent: set[str] = set()
        self.unstarted: set[str] = set()
        self.asked: list[tuple[str, Any]] = []

    async def ask(self, name, message, *, timeout_s):
        self.asked.append((name, message))
        if name in self.dead or name not in self.roles:
            raise TransientError("actor_died", name)
        if name in self.silent:
            raise TransientError("shard_unavailable", name)
        handler = self.roles[name].handlers.get(type(message))
        if isinstance(message, Ping):
            return self.pong(name)
        if name in self.unstarted:
            raise TransientError("shard_unavailable", "Expected a started role")
        answer = handler(message) if handler else None
        return await answer if hasattr(answer, "__await__") else answer

    def pong(self, name: str) -> Pong:
        owners = getattr(self.roles[name], "owners", ())
        slot = name.split("/", maxsplit=1)[0]
        one = self.instances.get(name, Instance(slot, slot.split("-")[0], name, 1))
        started = name not in self.unstarted
        return Pong(slot, one.role, name, one.pid, tuple(owners), one.node, started=started)


class Launcher(Calls):
    """Builds roles by `make(slot, name)`; one in `unstarted` answers pings alone."""

    def __init__(self, make: Callable[[str, str], Any]) -> None:
        super().__init__()
        self.make = make
        self.count = 0
        self.killed: list[str] = []
        self.start_s = 0.0
        self.places: list[Node] = []
        self.busy: set[str] = set()
        self.instances: dict[str, Instance] = {}

    async def launch(self, slot, role, placed):
        await asyncio.sleep(self.start_s)
        self.count += 1
        name = f"{slot}/{self.count}"
        self.roles[name] = self.make(slot, name)
        node = placement.choose(self.places, placed, role)
        one = Instance(slot, role, name, self.count, node.id if node else "")
        self.instances[name] = one
        return one

    async def kill(self, instance):
        self.killed.append(instance.name)
        self.dead.add(instance.name)

    async def nodes(self):
        return self.places

    def is_busy(self, instance):
        return instance.name in self.busy

    async def existing(self):
        there = [name for name in self.roles if name not in self.dead]
        silent = [n for n in there if n in self.silent]
        return Found(
            tuple(self.pong(n) for n in there if n not in silent),
            tuple(Instance(n.split("/")[0], "", n) for n in silent),
        )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
