"""The listener, on a chain without a node: following, lies and halts."""

import asyncio
import random
import time
from dataclasses import replace

import pytest

from engine.chain_view import EventSeqs
from engine.messages import FeedBatch, FeedPosition, Transferred
from tests.support.fake_chain import FakeLog, logs_of
from tests.support.listener_world import (
    Follower,
    World,
    until,
)


async def test_start_new_consumer_gets_every_block_once_in_order(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=5)
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == [1, 2, 3, 4, 5] and follower.events == world.events
    assert all(block.received_ns == 0 for block in follower.blocks)


async def test_head_frame_is_sealed_and_sent_with_the_time_it_came(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    block = world.seal(at_ns=77)
    await until(lambda: follower.position == world.tip)
    assert follower.blocks[-1] == replace(block, received_ns=78)


async def test_empty_blocks_are_sent_as_beats(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("shard", follower, frozenset())
    await world.start()
    world.seal()
    await until(lambda: follower.position == world.tip)
    empty = world.scenario.seal()
    world.chain.add(empty)
    await until(lambda: follower.position == world.tip)
    assert follower.batches[-1].messages[0] == replace(empty, received_ns=2)
    assert follower.batches[-1].head == empty.header.number


async def test_log_frame_before_its_head_seals_the_block_once(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    world.seal(trades=3, push="logs", at_ns=5)
    await until(lambda: follower.position == world.tip)
    assert follower.blocks[-1].received_ns == 5
    world.chain.push("head", {"header": world.chain.blocks[-1].header})
    world.seal(trades=2, push="all")
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == [1, 2] and follower.events == world.events


async def test_preconfirmed_log_frame_is_not_a_block(world: World) -> None:
    await world.start(blocks=1)
    world.chain.push("log", {"log": FakeLog(2, None, b"\x01", 0, None)}, 3)
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    world.seal(at_ns=9)
    await until(lambda: follower.position == world.tip)
    assert follower.blocks[-1].received_ns == 3 and world.listener.status()["halted"] is None


@pytest.mark.parametrize(("kind", "work_s", "most"), [("head", 0.0, 1), ("log", 0.001, 10)])
async def test_frames_that_wait_leave_others_the_loop(
    world: World, monkeypatch: pytest.MonkeyPatch, *, kind: str, work_s: float, most: int
) -> None:
    await world.start(blocks=1)
    taken = turns = 0

    def seen(number: int, received_ns: int) -> None:
        nonlocal taken
        taken += 1
        time.sleep(work_s)

    monkeypatch.setattr(world.listener._sealer, "seen", seen)
    header, log = world.chain.blocks[-1].header, FakeLog(2, None, b"\x01", 0, None)
    for _ in range(100):
        world.chain.push(kind, {"header": header, "log": log})
    while taken < 100:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 100 / most


async def test_missing_heads_are_filled_in(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    for _ in range(7):
        world.seal(push="none")
    world.seal()
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == list(range(1, 9)) and follower.events == world.events


async def test_block_not_readable_yet_is_tried_again(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    world.chain.not_yet[1] = 4
    world.seal(push="logs")
    await until(lambda: follower.position == world.tip)
    assert world.listener.status()["connections"] == 1


async def test_cut_streams_nothing_is_missed_or_doubled(world: World) -> None:
    follower, dice = Follower(), random.Random(7)
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    for _ in range(60):
        world.seal(trades=dice.randrange(3), push=dice.choice(["head", "logs", "all", "none"]))
        if dice.random() < 0.5:
            world.chain.cut()
        await asyncio.sleep(dice.random() * 0.01)
    world.seal()
    await until(lambda: follower.position == world.tip)
    assert follower.numbers == list(range(1, 62)) and follower.events == world.events
    assert EventSeqs().fault(follower.events) is None
    assert world.listener.status()["connections"] > 10


async def test_silence_reconnects_and_catches_up(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    world.seal(push="none")
    await until(lambda: follower.position == world.tip)
    assert world.listener.status()["connections"] >= 2


async def test_no_subscription_the_head_is_polled(world: World) -> None:
    follower = Follower()
    world.chain.sockets_refused = True
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=2)
    for _ in range(3):
        world.seal(push="none")
        await until(lambda: follower.position == world.tip)
    assert not world.listener.status()["connected"]


async def test_node_away_or_frozen_no_beat_no_pile_and_recovery(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    await until(lambda: follower.position == world.tip)
    for switch in ("away", "frozen"):
        beats = len(follower.batches)
        setattr(world.chain, switch, True)
        for _ in range(5):
            world.seal()
            world.chain.cut()
            await asyncio.sleep(0.05)
        assert len(follower.batches) == beats and world.chain.calls_most <= 3
        setattr(world.chain, switch, False)
        await until(lambda: follower.position == world.tip)
    assert follower.events == world.events


# ------------------------------------------------------------------ lies and halts


async def test_pushed_log_missing_in_logs_is_read_from_receipts(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start()
    for event in range(3):
        world.chain.hidden.add((1, event * 2))
    world.seal(trades=2, push="logs")
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events and world.listener.status()["reread"] == 1


async def test_log_lost_at_the_end_of_a_block_is_sent_anew_at_the_next(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    launchpad = next(e for e in sealed.events if not isinstance(e, Transferred))
    world.chain.hidden.add((2, launchpad.at.log_index))
    world.chain.add(sealed)
    await until(lambda: follower.position == world.tip)
    assert follower.events != world.events  # nobody can know yet
    world.seal()
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events and follower.reorgs == [1]
    assert world.listener.status()["revised"] == 1


async def test_gap_inside_a_block_is_healed_by_receipts(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    for _ in range(3):
        world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    numbered = [e for e in sealed.events if not isinstance(e, Transferred)]
    world.chain.hidden.add((2, numbered[1].at.log_index))
    world.chain.add(sealed)
    await until(lambda: follower.position == world.tip)
    assert follower.events == world.events
    assert world.listener.status()["reread"] == 1


async def test_log_lost_everywhere_halts(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    await until(lambda: follower.position == world.tip)
    before = follower.position
    for _ in range(3):
        world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    numbered = [e for e in sealed.events if not isinstance(e, Transferred)]
    world.chain.lost.add((2, numbered[1].at.log_index))
    world.chain.add(sealed)
    await until(lambda: world.listener.status()["halted"] is not None)
    assert "lost_log" in world.listener.status()["halted"]
    assert follower.position == before


async def test_pushed_log_missing_after_delivery_is_sent_anew(world: World) -> None:
    follower = Follower()
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    for _ in range(2):
        world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    last = sealed.events[-1].at.log_index
    world.chain.hidden.add((2, last))
    world.chain.add(sealed)
    await until(lambda: follower.position == world.tip)
    world.chain.push("log", {"log": logs_of(sealed)[-1]})
    await until(lambda: follower.events == world.events)
    assert follower.reorgs == [1] and world.listener.status()["halted"] is None


@pytest.mark.parametrize("late", [False, True], ids=["with the others", "after the others"])
async def test_pushed_logs_of_a_block_are_each_looked_at_and_read_only_where_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    follower, read = Follower(), []
    real = world.chain.log_of
    monkeypatch.setattr(world.chain, "log_of", lambda json: read.append(1) or real(json))
    world.listener.subscribe("recorder", follower, None)
    await world.start(blocks=1)
    for _ in range(4):
        world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    *known, last = logs_of(sealed)
    world.chain.hidden.add((2, last.log_index))
    world.chain.not_yet[2] = 1  # frames come while the block cannot be read yet
    world.chain.add(sealed)
    for log in known:
        world.chain.push("log", {"log": log})
    if late:
        await until(lambda: follower.position == world.tip)
        assert len(known) > 3 and not read
    world.chain.push("log", {"log": last})
    await until(lambda: follower.events == world.events)
    assert follower.position == world.tip and len(read) == 1


async def test_consumer_that_fails_while_a_block_is_revised_gets_it_all_the_same(
    world: World,
) -> None:
    # The block was applied and its reply lost: only the consumer knows that it has it.
    follower, lost = Follower(), asyncio.Event()

    async def send(batch: FeedBatch) -> FeedPosition:
        answer = await follower(batch)
        if lost.is_set():
            raise ConnectionError("the reply is lost")
        return answer

    world.listener.subscribe("shard", send, None)
    await world.start(blocks=1)
    await until(lambda: follower.position == world.tip)
    world.scenario.buy(world.token, 10**14)
    sealed = world.scenario.seal()
    last = sealed.events[-1].at.log_index
    world.chain.hidden.add((2, last))
    lost.set()
    world.chain.add(sealed)
    await until(lambda: follower.position == world.tip)
    world.chain.push("log", {"log": logs_of(sealed)[-1]})
    await until(lambda: world.listener.status()["revised"] == 1)
    lost.clear()
    await until(lambda: follower.events == world.events)
    assert follower.reorgs == [1]


async def test_pushed_log_that_receipts_do_not_know_is_only_counted(world: World) -> None:
    await world.start(blocks=1)
    block = world.seal()
    log = replace(logs_of(block)[0], log_index=99)
    world.chain.push("log", {"log": log})
    await until(lambda: world.listener.status()["false_pushes"] == 1)
    assert world.listener.status()["halted"] is None
