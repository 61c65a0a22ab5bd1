"""Places for API keys over real MongoDB, asked for at once: as many are made as there are."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from storage import documents
from storage.api_keys import ApiKey, ApiKeys

OWNER, OTHER = b"\x01" * 20, b"\x02" * 20
MOST, AT_ONCE, ROUNDS = 20, 20, 30
DAY_S = 86_400.0
# Of today: the server deletes by its own clock what expired long ago (`KEPT_S`).
NOW = float(int(time.time()))


class Killed(Exception):
    """The process is gone."""


class Keys:
    """Gateways, each with a client of its own, in turn."""

    def __init__(self, stores: list[ApiKeys]) -> None:
        self.stores = stores
        self.dice = random.Random(1)
        self._turns = itertools.cycle(stores)

    async def make(
        self, owner: bytes = OWNER, *, id: str = "", now: float = NOW, days: float = 30
    ) -> ApiKey | None:
        return await next(self._turns).make(
            id=id or self.dice.randbytes(8).hex(),
            owner=owner,
            name="bot",
            scopes=("read",),
            hash=b"h",
            now=now,
            expires=now + days * DAY_S,
            most=MOST,
        )

    async def at_once(self, count: int, *, now: float = NOW) -> list[ApiKey]:
        """Those that were made."""
        made = await asyncio.gather(*(self.make(now=now) for _ in range(count)))
        return [one for one in made if one is not None]

    async def good(self, now: float = NOW) -> set[str]:
        return {one.id for one in await self.stores[0].of(OWNER, now, 10 * MOST)}


@pytest.fixture
async def keys(mongodb_url: str) -> AsyncIterator[Keys]:
    clients = [documents.connect(mongodb_url) for _ in range(2)]
    stores = [ApiKeys(documents.database(client)) for client in clients]
    await asyncio.gather(*(store.prepare() for store in stores))
    yield Keys(stores)
    for client in clients:
        await client.close()


async def test_many_at_once_with_room_for_one_make_exactly_one(keys: Keys) -> None:
    assert len(await keys.at_once(MOST - 1)) == MOST - 1
    for _ in range(ROUNDS):
        (made,) = await keys.at_once(AT_ONCE)
        good = await keys.good()
        assert made.id in good and len(good) == MOST
        assert await keys.stores[0].end(keys.dice.choice(sorted(good)), owner=OWNER, now=NOW)


async def test_many_at_once_with_room_for_some_make_as_many(keys: Keys) -> None:
    for _ in range(5):
        before = await keys.good()
        made = await keys.at_once(MOST + 5)
        assert len(made) == MOST - len(before) and len(await keys.good()) == MOST
        for id in keys.dice.sample(sorted(await keys.good()), keys.dice.randint(2, MOST)):
            await keys.stores[0].end(id, owner=OWNER, now=NOW)
    assert await keys.make(OTHER) is not None, "a wallet takes no place from another"


async def test_place_of_an_expired_key_is_given_again_once(keys: Keys) -> None:
    await asyncio.gather(*(keys.make(days=1) for _ in range(3)))
    await keys.at_once(MOST)
    assert await keys.at_once(5) == []
    later = NOW + DAY_S
    assert len(await keys.at_once(AT_ONCE, now=later)) == 3
    assert len(await keys.good(later)) == MOST


async def test_key_is_made_once_however_often_it_is_asked_for(keys: Keys) -> None:
    made = await asyncio.gather(*(keys.make(id="ab" * 8) for _ in range(8)))
    assert {one and one.id for one in made} == {"ab" * 8} == await keys.good()
    await keys.at_once(MOST)
    again = await keys.make(id="ab" * 8)
    assert again is not None and len(await keys.good()) == MOST


async def test_keys_of_an_earlier_version_count(keys: Keys) -> None:
    first = await keys.at_once(4)
    await keys.stores[0]._keys.update_many({}, {"$unset": {"place": ""}})
    assert len(await keys.at_once(AT_ONCE)) == MOST - 4
    await keys.stores[0].end(first[0].id, owner=OWNER, now=NOW)
    assert len(await keys.at_once(AT_ONCE)) == 1
    assert len(await keys.good()) == MOST


class Mortal:
    """A collection whose caller may die before or after any of its writes."""

    def __init__(self, inner: Any, dice: random.Random) -> None:
        self._inner = inner
        self._dice = dice

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._inner, name)
        if name not in ("insert_one", "update_many"):
            return real

        async def call(*given: Any) -> Any:
            self._die()
            answer = await real(*given)
            self._die()
            return answer

        return call

    def _die(self) -> None:
        if self._dice.random() < 0.3:
            raise Killed


async def test_who_dies_while_making_keys_loses_no_place(keys: Keys) -> None:
    store = keys.stores[0]
    whole, died = store._keys, 0
    for _ in range(10):
        store._keys = Mortal(whole, keys.dice)
        told = await asyncio.gather(*(keys.make() for _ in range(12)), return_exceptions=True)
        died += sum(isinstance(one, Killed) for one in told)
        store._keys = whole
        await keys.at_once(MOST)
        good = await keys.good()
        assert len(good) == MOST
        for id in sorted(good)[:8]:
            await store.end(id, owner=OWNER, now=NOW)
    assert died > 10
