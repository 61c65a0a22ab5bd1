"""Points exactly once across Postgres and MongoDB: the ledger dies at calls, within transactions
and by kill -9, while blocks go on, days end and the outbox is swept; rows, shares, hashes and
balances must be what the model makes of all deeds. Planted bugs show that it would notice.
"""

import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pymongo

from engine.points.book import Book
from storage import outbox, points, postgres
from storage.documents import guarded
from storage.outbox import Outbox
from storage.points import PointsStore
from tests.chaos.report import Row
from tests.support.history import position_of
from tests.support.points_world import NAMES, START, Killed, World, opened, settle
from tests.support.servers import execute

KILLS_MIN = 300
REAL_KILLS_MIN = 10
BATCH = 6
PLANTED_KILLS = 60
PROMISE = "points exactly once across Postgres and MongoDB"

Patch = Callable[[World], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Stores:
    """Servers; each run has databases of its own."""

    postgres_url: str
    mongodb_url: str
    numbers: Iterator[int]

    @asynccontextmanager
    async def world(self, seed: int) -> AsyncIterator[tuple[World, tuple[str, str]]]:
        name = f"points_{next(self.numbers)}"
        await execute(self.postgres_url, f"CREATE DATABASE {name}")
        urls = [
            urlsplit(url)._replace(path=f"/{name}").geturl()
            for url in (self.postgres_url, self.mongodb_url)
        ]
        pool = await postgres.connect(urls[0], size=4)
        await postgres.migrate(pool)
        try:
            async with opened(pool, urls[1], seed=seed) as world:
                yield world, (urls[0], urls[1])
        finally:
            await pool.close()
            with pymongo.MongoClient[dict[str, Any]](urls[1], timeoutMS=10_000) as client:
                client.drop_database(name)


async def rows(
    postgres_url: str,
    mongodb_url: str,
    rng: random.Random,
    *,
    kills: int,
    real: int,
    planted: int,
) -> list[Row]:
    """One row for the kills, of both kinds, and `planted` of the planted bugs."""
    stores = Stores(postgres_url, mongodb_url, itertools.count())
    row = Row(PROMISE, "points", trials_min=KILLS_MIN + REAL_KILLS_MIN)
    with mock.patch("actors.points.BATCH", BATCH):
        await _killed(row, stores, rng, kills)
        await _killed_for_real(row, stores, rng, real)
        await _planted(row, stores, PLANTED[:planted], seed=rng.randrange(2**31))
    return [row]


async def _killed(row: Row, stores: Stores, rng: random.Random, kills: int) -> None:
    async with stores.world(rng.randrange(2**31)) as (world, _):
        await world.referred()
        died = await world.die_often(kills, dice=rng)
        row.trials += died["kills"]
        row.figure |= {"kills_in_process": died["kills"], "within_transactions": died["inside"]}
        await _judge(row, world, "in process")
        row.figure["days_closed"] = await world.database["points_roots"].count_documents({})


async def _killed_for_real(row: Row, stores: Stores, rng: random.Random, kills: int) -> None:
    async with stores.world(rng.randrange(2**31)) as (world, urls):
        await world.referred()
        await world.play(40 * kills, hours=5)
        died = await world.die_for_real(kills, urls, dice=rng)
        row.trials += died["kills"]
        row.figure |= {"kill_9": died["kills"], "kill_9_at_work": died["cut"]}
        await _judge(row, world, "kill -9")


async def _judge(row: Row, world: World, how: str) -> None:
    found = await world.differences()
    for name, count in found.items():
        row.figure[name] = row.figure.get(name, 0) + count
        if name != "rows" and count:
            row.fail(f"{how}: {count} {name}")
    if not found["rows"]:
        row.fail(f"{how}: nothing was counted")


# ---------------------------------------------------------------------------- planted


@dataclass(frozen=True)
class Planted:
    """`run` plays a world in which the bug shows."""

    name: str
    run: Callable[[World, random.Random], Any]
    patch: Patch


async def _planted(row: Row, stores: Stores, bugs: Sequence[Planted], *, seed: int) -> None:
    sound = {
        run: not await _bad(stores, run, lambda _: contextlib.nullcontext(), seed)
        for run in dict.fromkeys(one.run for one in bugs)
    }
    for one in bugs:
        found = await _bad(stores, one.run, one.patch, seed)
        row.plant(one.name, caught=found and sound[one.run])


async def _bad(stores: Stores, run: Any, patch: Patch, seed: int) -> bool:
    async with stores.world(seed) as (world, _):
        with patch(world):
            try:
                await run(world, random.Random(seed))
            except Exception:
                return True  # the ledger stands still and says so
        found = await world.differences()
        return any(count for name, count in found.items() if name != "rows")


async def _dies(world: World, dice: random.Random) -> None:
    await world.referred()
    await world.die_often(PLANTED_KILLS, dice=dice)


async def _two_at_once(world: World, dice: random.Random) -> None:
    for name in NAMES:
        await world.person(name, START - 10)
    await world.play(60)
    await world.count_at_once(4)


async def _reorganised(world: World, dice: random.Random) -> None:
    await world.referred()
    await world.play(40, hours=1)
    before = await world.events.position()
    for _ in range(12):
        block = world.saga.play()
        written = [world.historian.rows(block)]
        at = position_of(block)
        await world.events.write(written, incarnation=world.incarnation, position=at)
    await settle(world.actor())
    await world.events.rewind(before, incarnation=world.incarnation)
    await settle(world.actor())


def _commit(*, cursor: str = "inside", looks: bool = True) -> Patch:
    # The cursor moves inside the transaction, before or after it, and one dies between the two.
    dice = random.Random(1)

    def patch(world: World) -> Any:
        def between() -> None:
            if cursor != "inside" and world.dying and dice.random() < 0.1:
                raise Killed

        async def commit(self: Any, book: Any, known: Any, *, before: Any, after: Any) -> bool:
            async def move(**options: Any) -> bool:
                stands = {"block": before.block, "time": before.time} if looks else {}
                place = {"block": after.block, "time": after.time}
                query = {"_id": self._chain_id, **stands}
                moved = await self._cursors.update_one(query, {"$set": place}, **options)
                return bool(moved.matched_count)

            if cursor == "first" and not await move():
                return False
            between()
            async with guarded(), await self._session.start_transaction():
                if cursor == "inside" and not await move(session=self._session):
                    await self._session.abort_transaction()
                    return False
                await self._add_entries(book.entries, self._session)
                await self._add_owed(book.owed, self._session)
                await self._remember(book, known, self._session)
            between()
            return await move() if cursor == "last" else True

        return mock.patch.object(PointsStore, "commit", commit)

    return patch


@contextlib.contextmanager
def _made_up_keys(_: World) -> Iterator[None]:
    real, numbers = Book._put, itertools.count()

    def put(self: Book, entry: Any, *, since: int) -> None:
        real(self, replace(entry, key=f"{entry.key}:{next(numbers)}"), since=since)

    with mock.patch.object(Book, "_put", put):
        yield


@contextlib.contextmanager
def _no_dedupe(world: World) -> Iterator[None]:
    # Neither the cursor nor the keys keep a second writer out.
    row_of, owed, numbers = points.row_of, points._owed, itertools.count()

    def key(row: dict[str, Any], name: str) -> dict[str, Any]:
        return row | {name: f"{row[name]}:{next(numbers)}"}

    with (
        _commit(looks=False)(world),
        mock.patch.object(points, "row_of", lambda one: key(row_of(one), "key")),
        mock.patch.object(points, "_owed", lambda one: key(owed(one), "_id")),
    ):
        yield


class _Sessionless:
    # A collection whose calls forget the transaction that they belong to.
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._inner, name)

        def call(*given: Any, session: Any = None, **named: Any) -> Any:
            return real(*given, **named)

        return call


def _balances_outside(world: World) -> Any:
    return mock.patch.object(world.ledger, "_balances", _Sessionless(world.ledger._balances))


@contextlib.contextmanager
def _counts_what_is_not_final(_: World) -> Iterator[None]:
    horizon = outbox._SQL["horizon"].replace(
        "least(block_number, finalised_number)", "block_number"
    )
    due = outbox._SQL["due"].replace("AND outbox.visible_at IS NOT NULL", "")
    assert outbox._SQL["horizon"] != horizon and outbox._SQL["due"] != due
    with mock.patch.dict(outbox._SQL, {"horizon": horizon, "due": due}):
        yield


@contextlib.contextmanager
def _sweeps_what_is_needed(_: World) -> Iterator[None]:
    async def lowest(self: Outbox, connection: Any) -> int:
        return 2**31

    unseen = outbox._SQL["horizon"].replace("coalesce((", "coalesce(-1, (")
    assert unseen != outbox._SQL["horizon"]
    with (
        mock.patch.object(Outbox, "_lowest", lowest),
        mock.patch.dict(outbox._SQL, {"horizon": unseen}),
    ):
        yield


PLANTED = (
    Planted("a row's key is not worked out from its deed", _dies, _made_up_keys),
    Planted("the cursor moves outside the transaction, first", _dies, _commit(cursor="first")),
    Planted("the cursor moves outside the transaction, last", _dies, _commit(cursor="last")),
    Planted("balances are written outside the transaction", _dies, _balances_outside),
    Planted("the cursor of another writer is not looked at", _two_at_once, _commit(looks=False)),
    Planted("a second writer is not kept out by cursor or key", _two_at_once, _no_dedupe),
    Planted("what is not final is counted", _reorganised, _counts_what_is_not_final),
    Planted("work is swept before it is counted", _dies, _sweeps_what_is_needed),
)
