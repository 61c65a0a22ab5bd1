"""Buckets and snapshots: who may write, and what recovery finds."""

import asyncio

from engine.control import Scale, Wanted
from engine.messages import BucketOwner
from storage import postgres
from storage.buckets import BucketStore
from storage.snapshots import Snapshot, SnapshotStore
from storage.wanted import WantedStore
from tests.support.scenario import CHAIN_ID

HASH = bytes(range(32))


async def save(store: SnapshotStore, incarnation: int, block: int, payload: bytes = b"x") -> bool:
    return await store.save(
        bucket=7,
        incarnation=incarnation,
        block_number=block,
        block_hash=HASH,
        schema=1,
        payload=payload,
    )


async def test_take_first_time_gives_incarnation_one(buckets):
    assert await buckets.owners() == []
    assert await buckets.take("shard-0", range(512)) == dict.fromkeys(range(512), 1)
    owners = await buckets.owners()
    assert len(owners) == 512
    assert owners[3] == BucketOwner(3, "shard-0", 1)


async def test_take_prefills_every_bucket(pool, buckets):
    await buckets.take("shard-0", [1])
    async with postgres.session(pool) as connection:
        assert await connection.fetchval("SELECT count(*) FROM bucket_owner") == 1024


async def test_take_that_comes_late_leaves_what_another_one_took_since(buckets):
    first = await buckets.take("shard-0", [1, 2, 3])
    assert await buckets.take("shard-1", [1, 2], overtaken=first) == {1: 2, 2: 2}
    # Told before that: only what nobody took is there, and what was never taken at all.
    assert await buckets.take("shard-2", [1, 2, 3, 4], overtaken=first) == {3: 2, 4: 1}
    assert await buckets.take("shard-2", [1], overtaken=first) == {}
    # Repeated by its owner.
    assert await buckets.take("shard-1", [1, 2], overtaken=first) == {1: 3, 2: 3}
    owners = {one.bucket: (one.owner, one.incarnation) for one in await buckets.owners()}
    assert owners == {
        1: ("shard-1", 3), 2: ("shard-1", 3), 3: ("shard-2", 2), 4: ("shard-2", 1)
    }  # fmt: skip


async def test_take_by_two_at_once_gives_distinct_growing_incarnations(pool, buckets):
    other = BucketStore(pool, CHAIN_ID)
    taken: dict[str, list[dict[int, int]]] = {"a": [], "b": []}

    async def take_often(name: str, store: BucketStore, share: list[int]) -> None:
        for _ in range(12):
            taken[name].append(await store.take(name, share))

    await asyncio.gather(
        take_often("a", buckets, list(range(100))),
        take_often("b", other, list(range(149, 49, -1))),
    )
    for mine_taken in taken.values():
        for bucket in mine_taken[0]:
            mine = [one[bucket] for one in mine_taken]
            assert mine == sorted(set(mine))
    for bucket in range(50, 100):
        all_taken = [one[bucket] for mine in taken.values() for one in mine]
        assert sorted(all_taken) == list(range(1, 25))
    last = {owner.bucket: owner for owner in await buckets.owners()}
    for bucket in range(50, 100):
        assert taken[last[bucket].owner][-1][bucket] == last[bucket].incarnation == 24


async def test_take_of_another_chain_is_apart(pool, buckets):
    await buckets.take("shard-0", [5])
    assert await BucketStore(pool, 1).take("shard-1", [5]) == {5: 1}


async def test_snapshot_comes_back_newest_first_in_two_generations(buckets, snapshots):
    await buckets.take("shard-0", [7])
    for block in (10, 20, 30):
        assert await save(snapshots, 1, block, f"state {block}".encode())
    assert await snapshots.load([7, 8]) == {
        7: [
            Snapshot(7, 1, 30, HASH, 1, b"state 30"),
            Snapshot(7, 1, 20, HASH, 1, b"state 20"),
        ]
    }


async def test_snapshot_of_a_lower_incarnation_is_fenced(buckets, snapshots):
    await buckets.take("shard-0", [7])
    assert await save(snapshots, 1, 10)
    await buckets.take("shard-1", [7])
    assert await save(snapshots, 1, 20) is False
    assert [one.block_number for one in (await snapshots.load([7]))[7]] == [10]
    assert await save(snapshots, 2, 20)


async def test_snapshot_of_a_bucket_never_taken_is_fenced(snapshots):
    assert await save(snapshots, 0, 10) is False
    assert await save(snapshots, 1, 10) is False


async def test_snapshot_save_races_take_and_never_lands_after_it(pool, buckets, snapshots):
    await buckets.take("shard-0", [7])
    for round_ in range(1, 15):
        saved, _ = await asyncio.gather(
            save(snapshots, round_, 1000 + round_), buckets.take("next", [7])
        )
        late = await save(snapshots, round_, 5000)
        assert late is False
        if not saved:
            assert 1000 + round_ not in [
                one.block_number for one in (await snapshots.load([7])).get(7, [])
            ]


async def test_snapshot_with_a_flipped_byte_is_left_out(pool, buckets, snapshots):
    await buckets.take("shard-0", [7])
    await save(snapshots, 1, 10, b"older state")
    await save(snapshots, 1, 20, b"newer state")
    async with postgres.session(pool) as connection:
        await connection.execute(
            "UPDATE snapshots SET payload = set_byte(payload, 3, 255) WHERE block_number = 20"
        )
    assert [one.payload for one in (await snapshots.load([7]))[7]] == [b"older state"]
    assert snapshots.bad == 1


async def test_snapshot_under_another_block_is_left_out(pool, buckets, snapshots):
    await buckets.take("shard-0", [7])
    await save(snapshots, 1, 10)
    async with postgres.session(pool) as connection:
        await connection.execute("UPDATE snapshots SET block_number = 11")
    assert await snapshots.load([7]) == {}


async def test_snapshot_load_of_many_buckets(buckets, snapshots):
    everything = range(1024)
    await buckets.take("shard-0", everything)
    for bucket in range(0, 1024, 50):
        await snapshots.save(
            bucket=bucket,
            incarnation=1,
            block_number=5,
            block_hash=HASH,
            schema=1,
            payload=bytes([bucket % 256]),
        )
    assert sorted(await snapshots.load(everything)) == list(range(0, 1024, 50))


async def test_wanted_begins_with_the_settings_and_lasts_from_the_first_change_on(pool):
    first = WantedStore(pool, CHAIN_ID, Wanted(2, 1, 1))
    assert await first.read() == Wanted(2, 1, 1)
    assert await first.write(Scale(shards=4)) == Wanted(4, 1, 1)
    # Another start with other settings, and another chain's system.
    again = WantedStore(pool, CHAIN_ID, Wanted(8, 8, 8))
    assert await again.read() == await again.write(Scale(shards=4)) == Wanted(4, 1, 1)
    assert await WantedStore(pool, CHAIN_ID + 1, Wanted(8, 8, 8)).read() == Wanted(8, 8, 8)


async def test_wanted_of_two_writers_at_once_keeps_both_numbers(pool):
    store = WantedStore(pool, CHAIN_ID, Wanted(2, 1, 1))
    changes = [Scale(shards=5), Scale(gateways=3), Scale(stream_gateways=0)]
    await asyncio.gather(*(store.write(change) for change in changes))
    assert await store.read() == Wanted(5, 3, 0)
