"""What goes and what stays, by the recorder's time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from actors import cleaner
from actors.cleaner import Cleaner
from engine.control import Drain, StatusWanted
from engine.errors import TransientError
from tests.support.fakes import FakeSink

NOW, DAY = 1_800_000_000, 86_400


def hash_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def image_of(number: int, size: str = "") -> str:
    return f"{number:064x}{size}.png"


@dataclass
class World:
    """The stores: document hash → when asked for, image → when put."""

    recorded: int | None = NOW
    mined: set[bytes] = field(default_factory=set)
    asked: dict[bytes, float] = field(default_factory=dict)
    settled: set[bytes] = field(default_factory=set)
    images: dict[str, float] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    down: bool = False
    ask_again: bytes | None = None
    turns: int = 0

    async def time(self) -> int | None:
        self.turns += 1
        if self.down:
            raise TransientError("store_unavailable", "Expected the store")
        return self.recorded

    async def hashes(self, hashes: Sequence[bytes]) -> set[bytes]:
        if self.ask_again is not None:
            self.asked[self.ask_again], self.ask_again = NOW, None
        return self.mined & set(hashes)

    async def unmined(self, before: float, limit: int) -> list[bytes]:
        return [one for one, at in self.asked.items() if at < before][:limit]

    async def settle(
        self, mined: Sequence[bytes], gone: Sequence[bytes], *, before: float, now: float
    ) -> int:
        for one in mined:
            self.asked.pop(one, None)
            self.settled.add(one)
        old = [one for one in gone if self.asked.get(one, before) < before]
        for one in old:
            del self.asked[one]
        return len(old)

    async def named_images(self, images: Sequence[str]) -> set[str]:
        return self.named & set(images)

    async def names(self, after: str, limit: int) -> list[tuple[str, float]]:
        return [(one, self.images[one]) for one in sorted(self.images) if one > after][:limit]

    async def remove(self, name: str, *, before: float) -> bool:
        if self.images[name] >= before:
            return False
        del self.images[name]
        return True


def built(world: World, **fields: Any) -> Cleaner:
    values: dict[str, Any] = {"clock": lambda: NOW + 5, "interval_s": 0.001}
    return Cleaner(
        launched=world,
        documents=world,
        media=world,
        document_kept_s=DAY,
        image_kept_s=7 * DAY,
        log=FakeSink(),
        **(values | fields),
    )


async def test_document_goes_when_it_is_old_and_not_mined() -> None:
    old, young, mined, again = (hash_of(n) for n in range(4))
    world = World(
        mined={mined},
        asked={
            old: NOW - DAY - 1,
            young: NOW - DAY + 1,
            mined: NOW - 9 * DAY,
            again: NOW - 9 * DAY,
        },
        ask_again=again,
    )
    made = built(world)
    await made.turn()
    assert (world.asked.keys(), world.settled) == ({young, again}, {mined})
    assert made.handlers[StatusWanted](StatusWanted())["documents_removed"] == 1


async def test_documents_beyond_a_batch_all_go() -> None:
    count = 2 * cleaner.BATCH + 3
    world = World(asked=dict.fromkeys(map(hash_of, range(count)), 1.0), mined={hash_of(7)})
    await built(world).turn()
    assert (world.asked, world.settled) == ({}, {hash_of(7)})


async def test_recorder_that_is_behind_or_new_holds_the_time_back() -> None:
    # Launched two days ago, and not yet recorded.
    world = World(recorded=NOW - 3 * DAY, asked={hash_of(1): NOW - 2 * DAY})
    world.images = {image_of(1): NOW - 9 * DAY}
    await built(world).turn()
    assert world.asked and world.images
    world.recorded = None
    await built(world).turn()
    assert world.asked and world.images
    # A chain whose clock runs ahead takes nothing away early either.
    world.recorded = NOW + 90 * DAY
    world.asked, world.images = {hash_of(1): NOW - 1}, {image_of(1): NOW - 1}
    await built(world).turn()
    assert world.asked and world.images


async def test_image_goes_when_it_is_old_and_nobody_names_it() -> None:
    old, young = NOW - 7 * DAY - 1, NOW - 7 * DAY + 1
    world = World(named={f"{2:064x}"})
    for size in ("", "-256"):
        world.images |= {image_of(1, size): old, image_of(2, size): old, image_of(3, size): young}
    many = {image_of(number): old for number in range(10, 10 + 2 * cleaner.BATCH)}
    world.images |= many
    made = built(world)
    await made.turn()
    assert world.images.keys() == {image_of(n, size) for n in (2, 3) for size in ("", "-256")}
    assert made.handlers[StatusWanted](StatusWanted())["images_removed"] == len(many) + 2


async def test_run_outlives_a_store_that_is_away_and_ends_when_drained() -> None:
    world = World(down=True, asked={hash_of(1): 1.0})
    made = built(world)
    task = asyncio.create_task(made.run())
    while world.turns < 3:
        await asyncio.sleep(0.001)
    world.down = False
    while world.asked:
        await asyncio.sleep(0.001)
    made.handlers[Drain](Drain())
    await asyncio.wait_for(task, 5)
