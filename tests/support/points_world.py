"""A chain that is played into real Postgres, and the ledgers of points over real MongoDB that
count it, to be killed anywhere; what they hold is compared with the model of all deeds.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from actors.points import PointsLedger
from engine.errors import TransientError
from engine.messages import MarketEvent
from engine.points import merkle
from engine.points.deeds import deed_of
from engine.points.entries import Deed
from engine.points.rules import RuleBook, ours
from engine.rows import BlockRows
from engine.text import hex_of
from storage import documents
from storage.events import EventStore
from storage.outbox import POINTS, Outbox
from storage.people import People
from storage.point_days import PointDays
from storage.points import Counted, PointsStore, canonical
from tests.model import points as model
from tests.support.deeds import plain
from tests.support.fakes import FakeSink
from tests.support.history import Historian, Saga, position_of
from tests.support.points_process import SEASON
from tests.support.scenario import CHAIN_ID, address_of

START = 1_767_225_600
NAMES = ("alice", "bob", "carol", "creator", "pooler")
TRADERS = (*NAMES, "dave")
WRITTEN_AT_ONCE = 20


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


class Doomed:
    """Processes that count, one after the other. They are forked of one that has loaded what
    they need, which takes seconds.
    """

    def __init__(self, urls: tuple[str, str]) -> None:
        self._urls = urls
        self._living: set[int] = set()

    async def __aenter__(self) -> "Doomed":
        self._parent = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.points_process", *self._urls),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for pid in self._living:
            os.kill(pid, signal.SIGKILL)
        self._parent.kill()
        await self._parent.wait()

    async def born(self) -> int:
        """The process id of one that counts."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(b"\n")
        word, pid = (await self._line()).split()
        assert word == b"counting"
        self._living.add(int(pid))
        return int(pid)

    async def killed(self, pid: int) -> None:
        """By kill -9; it is gone afterwards."""
        os.kill(pid, signal.SIGKILL)
        self._living.discard(pid)
        assert await self._line() == b"ended by 9"

    async def _line(self) -> bytes:
        assert self._parent.stdout is not None
        return (await asyncio.wait_for(self._parent.stdout.readline(), 20)).rstrip()


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
    dying: bool = False

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
        waiting: list[BlockRows] = []
        for left in range(blocks - 1, -1, -1):
            block = self.saga.play()
            waiting.append(self.historian.rows(block))
            self.saw(waiting[-1])
            self.now = block.header.timestamp
            self.saga.time += int(hours * 3600) if self.saga.random.random() < 0.1 else 0
            if len(waiting) == WRITTEN_AT_ONCE or not left:
                at = position_of(block)
                assert await self.events.write(waiting, incarnation=self.incarnation, position=at)
                waiting = []
        await self.events.finalise(self.saga.number, self.incarnation)

    def saw(self, rows: BlockRows) -> None:
        """What the ledgers are to be compared with."""
        for event in rows.events:
            if isinstance(event, MarketEvent):
                creator = getattr(event, "creator", None)
                if creator:
                    self.creators[event.token] = creator
                self.seen.append((event, self.creators[event.token]))

    def deeds(self) -> list[Deed]:
        found = (deed_of(event, creator) for event, creator in self.seen)
        return [deed for deed in found if deed is not None]

    async def person(self, name: str, since: int, referrer: str = "") -> None:
        await self.people.connect(address_of(name), since)
        if referrer:
            at = datetime.fromtimestamp(since, UTC)
            referral = {"referral.by": hex_of(address_of(referrer)), "referral.at": at}
            await self.people.change(address_of(name), referral, since)

    async def differences(self, *, now: int | None = None) -> dict[str, int]:
        """The ledgers against the model of all deeds: rows, and how many are `lost`, `doubled`
        (or made up) or `wrong`, with balances that are not the sum of their rows.
        """
        known = await self.ledger.known(
            wallets=[address_of(name) for name in TRADERS], places=(), tags=(), now=0
        )
        people = {who: (p.since, p.referrer, p.bound_at) for who, p in known.people.items()}
        found = {
            one["_id"]: (one["rule"], bytes.fromhex(one["who"][2:]), one["micro"])
            async for one in self.database["points_ledger"].find()
        }
        owed = {
            one["_id"]: (bytes.fromhex(one["who"][2:]), int(one["wei"]))
            async for one in self.database["referral_ledger"].find()
        }
        deeds = plain(self.deeds())
        wanted: dict[str, Any] = model.points(deeds, people, self.now if now is None else now)
        wanted |= model.owed(deeds, people, known.codes)
        both: dict[str, Any] = found | owed
        return {
            "rows": len(both),
            "lost": len(wanted.keys() - both.keys()),
            "doubled": len(both.keys() - wanted.keys()),
            "wrong": sum(both[key] != wanted[key] for key in both.keys() & wanted.keys())
            + await self._wrong_balances(found, owed),
        }

    async def compare(self) -> int:
        """No difference; the number of rows."""
        found = await self.differences()
        rows = found.pop("rows")
        assert found == {"lost": 0, "doubled": 0, "wrong": 0}
        return rows

    async def _wrong_balances(self, found: Any, owed: Any) -> int:
        sums: dict[str, int] = {}
        for _, who, micro in found.values():
            sums[hex_of(who)] = sums.get(hex_of(who), 0) + micro
        balances = [one async for one in self.database["points_balances"].find()]
        wrong = int({one["who"]: one["micro"] for one in balances} != sums)
        for one in balances:
            chain, rows = bytes(32), self.database["points_ledger"].find({"who": one["who"]})
            async for row in rows.sort("n", 1):
                chain = merkle.chained(chain, canonical({name: row[name] for name in SHOWN}))
                wrong += bytes(row["chain"]) != chain
            wrong += bytes(one["chain"]) != chain
        totals: dict[str, int] = {}
        for who, wei in owed.values():
            totals[hex_of(who)] = totals.get(hex_of(who), 0) + wei
        kept = self.database["referral_totals"].find()
        real = {one["_id"]: int(one["wei"].to_decimal()) async for one in kept}
        return wrong + (real != totals)

    # ------------------------------------------------------------------------ deaths

    async def referred(self) -> None:
        """People in a line of referrers, the oldest first."""
        await self.person("carol", START - 10)
        for name, referrer in (("bob", "carol"), ("alice", "bob"), ("creator", "alice")):
            await self.person(name, START - 5, referrer)

    async def die_often(self, kills: int, *, dice: random.Random) -> dict[str, int]:
        """The ledger dies `kills` times at calls of its stores and within transactions, while
        blocks go on, days end and the outbox is swept; then it counts to the end.
        """
        deathly = [Deathly(one, dice) for one in (self.outbox, self.ledger, self.days)]
        wrapped = {id(one.inner): one for one in deathly}
        inside = _die_inside(self.ledger, dice)
        died, self.dying = 0, True
        while died < kills:
            await self.play(5, hours=5)
            for one in deathly:
                one.rate = 0.12
            inside.rate = 0.06
            for _ in range(40):
                actor = self.actor(lambda one: wrapped[id(one)])
                try:
                    await settle(actor)
                    break
                except Killed:
                    died += 1
                    if dice.random() < 0.3:
                        await self.sweep()
        inside.stop()
        self.dying = False
        await settle(self.actor())
        return {"kills": died, "inside": inside.killed}

    async def sweep(self) -> int:
        """As the sweeper does, of what was counted, without waiting for its age."""
        await self.outbox.told(POINTS, (await self.ledger.counted()).block)
        return await self.outbox.sweep(kept_s=0, rows_max=40)

    async def die_for_real(
        self, kills: int, urls: tuple[str, str], *, dice: random.Random
    ) -> dict[str, int]:
        """A process that counts is ended by kill -9 `kills` times; then this one ends the work.
        `cut` are those that died at work.
        """
        cut = 0
        async with Doomed(urls) as doomed:
            for _ in range(kills):
                pid = await doomed.born()
                before = (await self.ledger.counted()).block
                await asyncio.sleep(dice.uniform(0.02, 0.3))
                await doomed.killed(pid)
                cut += before < (await self.ledger.counted()).block < self.saga.number
        await self.ledger.claim()  # else a dead one's transaction would hold it for a minute
        await settle(self.actor())
        return {"kills": kills, "cut": cut}

    async def count_at_once(self, writers: int) -> None:
        """Several ledgers count the same at the same time."""

        async def run() -> None:
            store = PointsStore(self.database, CHAIN_ID)
            await store.claim()
            actor = self.actor(lambda one: store if one is self.ledger else one)
            for _ in range(200):
                try:
                    if not await actor.step():
                        return
                except TransientError:
                    continue

        await asyncio.gather(*(run() for _ in range(writers)))


SHOWN = ["key", "rule", "version", "season", "who", "micro", "time", "because", "token", "facts"]


@asynccontextmanager
async def opened(pool: Any, mongodb_url: str, *, seed: int = 7) -> AsyncIterator[World]:
    """Over an empty, migrated Postgres and an empty MongoDB."""
    client = documents.connect(mongodb_url)
    database = documents.database(client)
    events, ledger = EventStore(pool, CHAIN_ID), PointsStore(database, CHAIN_ID)
    days, people = PointDays(database), People(database)
    await ledger.prepare()
    await days.prepare()
    await people.prepare()
    await ledger.claim()
    yield World(
        events=events,
        ledger=ledger,
        days=days,
        outbox=Outbox(pool, CHAIN_ID),
        people=people,
        database=database,
        rules=RuleBook((SEASON,), ours().versions),
        saga=Saga(seed=seed, time=START),
        incarnation=await events.claim(),
    )
    await client.close()


async def settle(actor: PointsLedger) -> None:
    """Count until there is no more."""
    while await actor.step():
        pass


def _die_inside(ledger: PointsStore, dice: random.Random) -> Any:
    # In the transaction: after the cursor moved, between rows and what is remembered.
    state = SimpleNamespace(rate=0.0, killed=0, stop=None)
    real = {name: getattr(ledger, name) for name in ("_add_entries", "_add_owed", "_remember")}

    def dying(name: str) -> Any:
        async def call(*given: Any) -> None:
            await real[name](*given)
            if dice.random() < state.rate:
                state.killed += 1
                raise Killed

        return call

    for name in real:
        setattr(ledger, name, dying(name))
    state.stop = lambda: [delattr(ledger, name) for name in real]
    return state
