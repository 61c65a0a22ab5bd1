"""The whole system as plain classes: one listener, shards, a recorder and the supervisor,
over a simulated node and a real Postgres. Ticks go to a recording fake with the real fence.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from actors.host import Role
from actors.listener import ChainListener
from actors.recorder import Recorder
from actors.shard import TokenShard
from actors.supervisor import Supervisor
from chain.decode import Decoder, RawLog
from chain.source import ChainSource
from engine.control import (
    Directory,
    Feed,
    Follow,
    Instance,
    StatesAt,
    StatusWanted,
    Unfollow,
    Wanted,
)
from engine.errors import TransientError
from engine.messages import FeedBatch, FeedPosition, ListedRow, Sampled, Tick
from engine.said import Claim, Mark, ToSay
from engine.settings import ActorSettings, ChainSettings
from storage import postgres
from storage.buckets import BucketStore
from storage.events import EventStore
from storage.snapshots import SnapshotStore
from storage.wanted import WantedStore
from tests.simulation import wire
from tests.simulation.chain import SimChain, Tx
from tests.simulation.loop import VirtualLoop, outside
from tests.simulation.node import Faults, SimNode
from tests.simulation.processes import Cluster, Fuse, Port, Process
from tests.support.fake_roles import Said, States

DEPTH = 8
SHARDS = 2
BLOCK_S = 1.0
SETTLE_S = 90.0
FEED_TIMEOUT_S = 10.0


class Log:
    """Levels and events of everything, for what must not be said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        def write(event: str, **fields: Any) -> None:
            self.lines.append((level, event, fields))

        return write

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for _, name, fields in self.lines if name == event]


@dataclass
class Told:
    """One published tick."""

    bucket: int
    incarnation: int
    tick: Tick


class TickStore(Said):
    """Redis as far as its promise goes: fenced by incarnation, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Told] = []

    async def publish_all(self, parcels: Sequence[tuple[int, int, Sequence[Tick]]]) -> list[bool]:
        await asyncio.sleep(0.0005)
        if self.down:
            raise TransientError("store_unavailable", "down")
        return [self._publish(*parcel) for parcel in parcels]

    async def say_trades(self, parcels: Sequence[ToSay]) -> list[str]:
        await asyncio.sleep(0.0005)
        return await super().say_trades(parcels)

    async def claim_said(self, claims: Sequence[Claim]) -> list[Mark | None]:
        await asyncio.sleep(0.0005)
        return await super().claim_said(claims)

    async def sample(self, rows: Sequence[ListedRow], *, left_out: int = 0) -> Sampled:
        await asyncio.sleep(0.0005)
        return Sampled((), 0, 0.0)

    async def halted(self) -> dict[bytes, str]:
        return {}

    async def note_halted(self, tokens: Mapping[bytes, str]) -> None:
        await asyncio.sleep(0.0005)

    def _publish(self, bucket: int, incarnation: int, ticks: Sequence[Tick]) -> bool:
        if self.fence.get(bucket, 0) > incarnation:
            return False
        self.fence[bucket] = incarnation
        for tick in ticks:
            orjson.dumps(tick.data)
            self.told.append(Told(bucket, incarnation, tick))
        return True


def _slots(wanted: Wanted) -> dict[str, str]:
    shards = {f"shard-{number}": "shard" for number in range(wanted.shards)}
    return {"recorder": "recorder", "listener": "listener", **shards}


async def _emptied(pool: Any) -> None:
    # Of the runs before: what they left would make this one slow.
    tables = await pool.fetch(
        "SELECT tablename FROM pg_tables"
        " WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
    )
    await pool.execute(f"TRUNCATE {', '.join(row[0] for row in tables)}")


class _NoReceipts:
    async def receipt(self, tx_hash: bytes) -> None:
        return None

    async def revert_reason(self, tx_hash: bytes) -> str:
        return ""


@dataclass
class World:
    """`start`, then let blocks come; `settle` waits until everybody stands on the tip."""

    url: str
    chain_id: int
    random: random.Random
    shreds: bool = True
    patience_s: float = SETTLE_S
    log: Log = field(default_factory=Log)
    ticks: TickStore = field(default_factory=TickStore)
    visible: set[str] = field(default_factory=set)
    kills: int = 0

    def __post_init__(self) -> None:
        self.chain = SimChain(random.Random(self.random.getrandbits(64)))
        self.node = SimNode(
            self.chain, random.Random(self.random.getrandbits(64)), shreds=self.shreds
        )
        self.settings: ChainSettings = wire.chain_settings(
            chain_id=self.chain_id, block_time_s=BLOCK_S, reorg_depth_max=DEPTH
        )
        self.cluster = Cluster(self._build)
        self.fuses: dict[str, Fuse] = {}
        self.supervisor: Supervisor | None = None
        self.pool: Any = None
        self._main: asyncio.Task[None] | None = None
        self._highest = 0

    @property
    def loop(self) -> VirtualLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop

    def now(self) -> float:
        """Virtual seconds."""
        return self.loop.time()

    async def start(self) -> None:
        with outside():
            self.pool = await postgres.connect(self.url, size=2)
            await _emptied(self.pool)
        await self.supervise()
        await self.until(lambda: self.supervisor is not None and self.supervisor.ready)

    async def supervise(self) -> None:
        """A new supervisor, in the place of the one there is."""
        await self._end_supervisor()
        first = Wanted(SHARDS, 1, 0)
        self.supervisor = Supervisor(
            slots=_slots,
            settings=ActorSettings(ping_interval_s=0.25, snapshot_every_blocks=3),
            launcher=self.cluster,
            owners=Port(BucketStore(self.pool, self.chain_id), Fuse()),
            wanted=Port(WantedStore(self.pool, self.chain_id, first), Fuse()),
            log=self.log,
            clock=self.now,
        )
        self._main = asyncio.create_task(self.supervisor.run())

    async def _end_supervisor(self) -> None:
        if self._main is None or self.supervisor is None:
            return
        one = self.supervisor
        tasks = [self._main]
        for kind in (*one._work, one._ending):
            tasks += kind.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        await self._end_supervisor()
        for process in list(self.cluster.processes.values()):
            process.kill()
        if self.pool is not None:
            self.pool.terminate()
        await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        deadline = self.now() + (self.patience_s if timeout_s is None else timeout_s)
        while not condition():
            if self.now() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    # ------------------------------------------------------------------- what happens

    async def block(self, txs: list[Tx] | None = None, *, shown: bool = True) -> None:
        """One block time: transactions are shown while it is open, then it is sealed."""
        txs = self.chain.coming(self.random.randrange(5)) if txs is None else txs
        if shown and txs:
            self.node.preview(txs)
        await asyncio.sleep(BLOCK_S * 0.7)
        self.node.sealed([self.chain.seal(txs)])
        await asyncio.sleep(BLOCK_S * 0.3)

    @property
    def deepest(self) -> int:
        """How many blocks may go so that the oldest of them is inside everybody's window."""
        self._highest = max(self._highest, self.chain.tip.number)
        return min(self.chain.tip.number - self._highest + DEPTH, self.chain.tip.number)

    async def reorg(self, depth: int, length: int, *, heads: bool = True) -> None:
        self._highest = max(self._highest, self.chain.tip.number)
        blocks = self.chain.fork(depth, length, kept=self.random.choice((0.0, 0.5, 0.9)))
        if heads:
            self.node.reorged(blocks)
        await asyncio.sleep(BLOCK_S * 0.5)

    def kill(self, slot: str, *, after: int, inside: bool) -> None:
        """Let the process of a slot die at its `after`-th boundary from now."""
        for process in self.cluster.processes.values():
            if process.instance.slot == slot and not process.dead:
                process.fuse.left, process.fuse.inside = after, inside

    async def note_visible(self) -> None:
        """Remember what may have been acted on: it must stay true for ever."""
        with outside():
            rows = await self.pool.fetch(
                "SELECT key FROM outbox WHERE chain_id = $1 AND visible_at IS NOT NULL",
                self.chain_id,
            )
        self.visible |= {row["key"] for row in rows}

    async def settle(self) -> str:
        """Faults off, some quiet blocks; empty when everybody stands on the tip, else who not."""
        self.node.faults, self.ticks.down = Faults(), False
        self.cluster.lose_reply = self.cluster.repeat = lambda: False
        for fuse in self.fuses.values():
            fuse.left = None
        for _ in range(3):
            await self.block([], shown=False)
        return "" if await self.until(self.settled) else str(await self.positions())

    def settled(self) -> bool:
        """Whether every role stands on the chain's tip and every bucket is owned."""
        tip = FeedPosition(self.chain.tip.number, self.chain.tip.hash)
        assert self.supervisor is not None
        if not self.supervisor.ready:
            return False
        for process in self.cluster.living("shard"):
            groups = [one.group for one in process.plain._served.values()]
            if not groups or any(group.position != tip for group in groups):
                return False
        recorders = self.cluster.living("recorder")
        return len(recorders) == 1 and recorders[0].plain._position == tip

    async def positions(self) -> dict[str, Any]:
        """Where each role stands, for the message of a failure."""
        found: dict[str, Any] = {"tip": self.chain.tip.number}
        for process in self.cluster.processes.values():
            if not process.dead and process.role is not None:
                status = process.role.handlers[StatusWanted](StatusWanted())
                keys = ("tip", "block", "halted", "consumers", "connected")
                found[process.instance.name] = {k: v for k, v in status.items() if k in keys}
        return found

    async def states(self) -> dict[bytes, tuple[Any, ...]]:
        """Token → state, of all shards at the tip. Raises AssertionError: two have one token."""
        found: dict[bytes, tuple[Any, ...]] = {}
        for process in self.cluster.living("shard"):
            page = process.plain.handlers[StatesAt](StatesAt(self.chain.tip.number))
            assert not page.halted, f"halted: {page.halted}"
            for token, *state in page.states:
                assert token not in found, "two shards have one token"
                found[token] = tuple(state)
        return found

    # ------------------------------------------------------------------------- roles

    async def _build(self, slot: str, role: str, name: str) -> Process:
        with outside():
            pool = await postgres.connect(self.url, size=3)
        fuse = Fuse()
        process = Process(Instance(slot, role, name, self.cluster.started), fuse, pool)
        self.fuses[name] = fuse
        make = {"listener": self._listener, "recorder": self._recorder, "shard": self._shard}
        process.plain, process.role = await make[role](process)
        process.run()
        return process

    async def _recorder(self, process: Process) -> tuple[Any, Role]:
        built = Recorder(
            name=process.instance.name,
            chain=self.settings,
            history=Port(EventStore(process.pool, self.chain_id), process.fuse),
            receipts=_NoReceipts(),
            calls=self.cluster,
            log=self.log,
            clock=self.now,
        )
        await built.start()
        return built, Role(handlers=built.handlers, run=built.run, log=self.log)

    async def _shard(self, process: Process) -> tuple[Any, Role]:
        built = TokenShard(
            name=process.instance.name,
            chain=self.settings,
            settings=ActorSettings(snapshot_every_blocks=3),
            buckets=Port(BucketStore(process.pool, self.chain_id), process.fuse),
            snapshots=Port(SnapshotStore(process.pool, self.chain_id), process.fuse),
            events=Port(EventStore(process.pool, self.chain_id), process.fuse),
            ticks=self.ticks,
            states=States(),
            calls=self.cluster,
            log=self.log,
            clock=self.now,
            wall_ns=lambda: int(self.now() * 1e9),
        )
        owners = lambda: built.owners  # noqa: E731
        return built, Role(handlers=built.handlers, run=built.run, log=self.log, owners=owners)

    async def _listener(self, process: Process) -> tuple[Any, Role]:
        store = Port(EventStore(process.pool, self.chain_id), process.fuse)
        position = await store.position()
        built: ChainListener[RawLog] = ChainListener(
            chain=self.settings,
            source=ChainSource(self.node, self.settings),
            stream_factory=self.node.stream,
            decoder=Decoder(self.settings, await store.tokens(), await store.pairs()),
            log=self.log,
            clock=self.now,
            wall_ns=lambda: int(self.now() * 1e9),
        )
        await built.start(position)
        assert built._main is not None
        process.tasks.add(built._main)

        async def send(consumer: str, group: str, batch: FeedBatch) -> FeedPosition:
            await process.fuse.cross()
            answer: FeedPosition = await self.cluster.ask(
                consumer, Feed(group, batch), timeout_s=FEED_TIMEOUT_S
            )
            await process.fuse.cross()
            return answer

        async def follow(message: Follow) -> None:
            built.subscribe(
                f"{message.consumer}:{message.group}",
                partial(send, message.consumer, message.group),
                message.buckets,
                position=message.position,
                trail=message.trail,
            )
            process.tasks.update(task for _, task in built._consumers.values())

        handlers: dict[type, Callable[[Any], Any]] = {
            Follow: follow,
            Unfollow: lambda m: built.unsubscribe(f"{m.consumer}:{m.group}"),
            Directory: lambda _: None,
            StatusWanted: lambda _: built.status(),
        }
        return built, Role(handlers=handlers, run=built.run, log=self.log)
