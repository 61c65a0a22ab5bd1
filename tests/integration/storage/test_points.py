"""The ledgers over real Postgres and MongoDB: counted once, whoever dies when."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from actors.points import PointsLedger
from engine.errors import TransientError
from engine.messages import MarketEvent
from engine.points import merkle
from engine.points.deeds import deed_of
from engine.points.entries import Deed
from engine.points.rules import RuleBook, ours
from engine.text import hex_of
from storage import documents
from storage.events import EventStore
from storage.outbox import Outbox
from storage.people import People
from storage.point_days import PointDays
from storage.points import Counted, PointsStore, canonical, code_of
from tests.model import points as model
from tests.support.deeds import plain
from tests.support.fakes import FakeSink
from tests.support.history import Historian, Saga, position_of
from tests.support.points_process import SEASON
from tests.support.scenario import CHAIN_ID, address_of

START = 1_767_225_600
NAMES = ("alice", "bob", "carol", "creator", "pooler")


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Deathly:
    """Stores that die at the n-th call, before it, after it, or in the middle of a commit."""

    inner: Any
    dice: random.Random
    rate: float = 0.0
    killed: int = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.inner, name)

        async def call(*given: Any, **named: Any) -> Any:
            self._die()
            answer = await real(*given, **named)
            self._die()
            return answer

        return call

    def _die(self) -> None:
        if self.dice.random() < self.rate:
            self.killed += 1
            raise Killed


@dataclass
class World:
    events: EventStore
    ledger: PointsStore
    days: PointDays
    outbox: Outbox
    people: People
    database: Any
    rules: RuleBook
    saga: Saga
    incarnation: int
    historian: Historian = field(default_factory=Historian)
    seen: list[tuple[MarketEvent, bytes]] = field(default_factory=list)
    creators: dict[bytes, bytes] = field(default_factory=dict)
    now: int = 0

    def actor(self, wrap: Callable[[Any], Any] = lambda one: one) -> PointsLedger:
        return PointsLedger(
            rules=self.rules,
            outbox=wrap(self.outbox),
            ledger=wrap(self.ledger),
            days=wrap(self.days),
            place=Counted,
            log=FakeSink(),
        )

    async def play(self, blocks: int, *, hours: float = 0.0) -> None:
        """Blocks that are recorded and final."""
        for _ in range(blocks):
            block = self.saga.play()
            rows = self.historian.rows(block)
            assert await self.events.write(
                [rows], incarnation=self.incarnation, position=position_of(block)
            )
            for event in rows.events:
                if isinstance(event, MarketEvent):
                    creator = getattr(event, "creator", None)
                    if creator:
                        self.creators[event.token] = creator
                    self.seen.append((event, self.creators[event.token]))
            self.now = block.header.timestamp
            self.saga.time += int(hours * 3600) if self.saga.random.random() < 0.1 else 0
        await self.events.finalise(self.saga.number, self.incarnation)

    def deeds(self) -> list[Deed]:
        found = (deed_of(event, creator) for event, creator in self.seen)
        return [deed for deed in found if deed is not None]

    async def person(self, name: str, since: int, referrer: str = "") -> None:
        await self.people.connect(address_of(name), since)
        if referrer:
            at = datetime.fromtimestamp(since, UTC)
            referral = {"referral.by": hex_of(address_of(referrer)), "referral.at": at}
            await self.people.change(address_of(name), referral, since)

    async def compare(self) -> int:
        """The ledgers against the model of all deeds; the number of rows."""
        known = await self.ledger.known(
            wallets=[address_of(name) for name in NAMES], places=(), tags=(), now=0
        )
        people = {who: (p.since, p.referrer, p.bound_at) for who, p in known.people.items()}
        counted = await self.ledger.counted()
        assert counted.block <= self.saga.number
        expected = model.points(plain(self.deeds()), people, self.now)
        found = {
            one["_id"]: (one["rule"], bytes.fromhex(one["who"][2:]), one["micro"])
            async for one in self.database["points_ledger"].find()
        }
        assert found == expected
        owed = {
            one["_id"]: (bytes.fromhex(one["who"][2:]), int(one["wei"]))
            async for one in self.database["referral_ledger"].find()
        }
        assert owed == model.owed(plain(self.deeds()), people, known.codes)
        await self.compare_balances(found, owed)
        return len(found) + len(owed)

    async def compare_balances(self, found: Any, owed: Any) -> None:
        sums: dict[str, int] = {}
        for _, who, micro in found.values():
            sums[hex_of(who)] = sums.get(hex_of(who), 0) + micro
        balances = [one async for one in self.database["points_balances"].find()]
        assert {one["who"]: one["micro"] for one in balances} == sums
        for one in balances:
            chain, rows = bytes(32), self.database["points_ledger"].find({"who": one["who"]})
            async for row in rows.sort("n", 1):
                shown = {name: row[name] for name in SHOWN}
                chain = merkle.chained(chain, canonical(shown))
                assert bytes(row["chain"]) == chain
            assert bytes(one["chain"]) == chain
        totals: dict[str, int] = {}
        for who, wei in owed.values():
            totals[hex_of(who)] = totals.get(hex_of(who), 0) + wei
        kept = self.database["referral_totals"].find()
        assert {one["_id"]: int(one["wei"].to_decimal()) async for one in kept} == totals


SHOWN = ["key", "rule", "version", "season", "who", "micro", "time", "because", "token", "facts"]


@pytest.fixture
async def world(pool: Any, mongodb_url: str) -> AsyncIterator[World]:
    client = documents.connect(mongodb_url)
    database = documents.database(client)
    events, ledger, days = EventStore(pool, CHAIN_ID), PointsStore(database, CHAIN_ID), None
    days, people = PointDays(database), People(database)
    for store in (ledger, days, people):
        await store.prepare()
    await ledger.claim()
    made = World(
        events=events,
        ledger=ledger,
        days=days,
        outbox=Outbox(pool, CHAIN_ID),
        people=people,
        database=database,
        rules=RuleBook((SEASON,), ours().versions),
        saga=Saga(seed=7, time=START),
        incarnation=await events.claim(),
    )
    yield made
    await client.close()


async def settle(actor: PointsLedger) -> None:
    while await actor.step():
        pass


async def test_final_work_is_counted_and_unfinal_is_not(world: World) -> None:
    for name in NAMES:
        await world.person(name, START - 10)
    actor = world.actor()
    await settle(actor)
    await world.play(60, hours=1)
    block = world.saga.play()
    await world.events.write(
        [world.historian.rows(block)], incarnation=world.incarnation, position=position_of(block)
    )
    assert block.events, "Expected something that is not final"
    await settle(actor)
    assert await world.compare() > 10


async def test_dead_at_any_of_three_hundred_points_nothing_is_lost_or_doubled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.points.BATCH", 6)
    dice = random.Random(3)
    await world.person("carol", START - 10)
    for name, referrer in (("bob", "carol"), ("alice", "bob"), ("creator", "alice")):
        await world.person(name, START - 5, referrer)
    deathly = [Deathly(one, dice) for one in (world.outbox, world.ledger, world.days)]
    inside = _die_inside(world.ledger, dice, monkeypatch)
    wrapped = {id(one.inner): one for one in deathly}
    kills = 0
    while kills < 310:
        await world.play(5, hours=5)
        for one in deathly:
            one.rate = 0.12
        inside.rate = 0.06
        for _ in range(40):
            actor = world.actor(lambda one: wrapped[id(one)])
            try:
                await settle(actor)
                break
            except Killed:
                kills += 1
    for one in (*deathly, inside):
        one.rate = 0.0
    await settle(world.actor())
    rows = await world.compare()
    assert rows > 300 and inside.killed > 20
    roots = await world.days.roots("one", 100)
    days = [one["day"] for one in roots]
    assert days == list(range(days[0], days[-1] - 1, -1)) and len(days) > 3


def _die_inside(ledger: PointsStore, dice: random.Random, monkeypatch: pytest.MonkeyPatch) -> Any:
    # In the transaction: after the cursor moved, between rows and what is remembered.
    state = SimpleNamespace(rate=0.0, killed=0)
    for name in ("_add_entries", "_add_owed", "_remember"):
        real = getattr(ledger, name)

        async def call(*given: Any, real: Any = real) -> None:
            await real(*given)
            if dice.random() < state.rate:
                state.killed += 1
                raise Killed

        monkeypatch.setattr(ledger, name, call)
    return state


async def test_killed_ten_times_nothing_is_lost_or_doubled(
    world: World, database_url: str, mongodb_url: str
) -> None:
    dice, cut = random.Random(5), 0
    await world.person("carol", START - 10)
    for name, referrer in (("bob", "carol"), ("alice", "bob"), ("creator", "alice")):
        await world.person(name, START - 5, referrer)
    await world.play(400, hours=5)
    for _ in range(10):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.points_process", database_url, mongodb_url),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"counting\n"
        before = (await world.ledger.counted()).block
        await asyncio.sleep(dice.uniform(0.02, 0.3))
        process.kill()
        await process.wait()
        cut += before < (await world.ledger.counted()).block < world.saga.number
    await world.ledger.claim()  # else a dead one's transaction would hold it for a minute
    await settle(world.actor())
    assert await world.compare() > 100
    assert cut >= 5, "Expected most of them to die at work"


async def test_two_actors_at_once_count_once(world: World) -> None:
    for name in NAMES:
        await world.person(name, START - 10)
    await world.play(60)

    async def run() -> None:
        store = PointsStore(world.database, CHAIN_ID)
        await store.claim()
        actor = world.actor(lambda one: store if one is world.ledger else one)
        for _ in range(200):
            try:
                if not await actor.step():
                    return
            except TransientError:
                continue

    await asyncio.gather(*(run() for _ in range(4)))
    assert await world.compare() > 10


async def test_day_is_proved_by_its_root(world: World) -> None:
    for name in NAMES:
        await world.person(name, START - 10)
    await world.play(120, hours=8)
    await settle(world.actor())
    (last, *_) = await world.days.roots("one", 1)
    proved = 0
    for name in NAMES:
        found = await world.days.prove("one", address_of(name))
        if found is None:
            continue
        leaf = merkle.leaf(found.who, found.micro, found.chain)
        assert found.root.hex() == last["root"][2:]
        assert merkle.holds(found.root, leaf, found.proof)
        assert not merkle.holds(
            found.root, merkle.leaf(found.who, found.micro + 1, found.chain), found.proof
        )
        proved += 1
    assert proved == last["wallets"] > 2
    assert await world.days.close("one", last["day"] + 1) is not None
    assert await world.days.prove("one", bytes(20)) is None


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        (b"Moon1".ljust(32, b"\0"), "moon1"),
        (bytes(32), ""),
        (b"a\0b".ljust(32, b"\0"), ""),
        (b"\xc3\xa9".ljust(32, b"\0"), ""),
        (b"$where".ljust(32, b"\0"), ""),
    ],
)
def test_code_of_a_tag(tag: bytes, code: str) -> None:
    assert code_of(tag) == code
