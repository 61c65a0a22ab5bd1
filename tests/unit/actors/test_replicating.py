"""What a shard tells read replicas: numbered, in order, to nobody where nobody listens."""

import asyncio
from dataclasses import replace

import pytest

from actors import replicating
from engine.buckets import bucket_of
from engine.control import Drain, EntriesWanted, Feed, Halt, StatusWanted, Take
from engine.errors import ConsistencyError, TransientError
from engine.messages import FeedBatch
from engine.states import Beat, BucketStates, Mark
from tests.support.scenario import CHAIN_ID
from tests.support.shard_world import ALL, ETH, World, running
from tests.support.tasks import passed

BEATS_S = 3 * replicating.REPLICA_BEAT_S


class Told(World):
    """A shard that is asked for its first market, and what it says from then on."""

    async def begin(self, *tokens):
        self.owner = self.shard()
        await self.owner.handlers[Take](Take(ALL))
        return self.entries(*tokens)

    def entries(self, *tokens):
        return self.owner.handlers[EntriesWanted](EntriesWanted(tokens)).entries

    async def trade(self, token=None):
        if token:
            self.scenario.buy(token, ETH // 50)
        self.seal()
        await self.listener.send()

    def messages(self, kind):
        return [one for one in self.states.sent if isinstance(one, kind)]


def mark_of(beat, token):
    marks = [mark for one in beat.standings for mark in one.marks]
    (found,) = [mark for mark in marks if mark.bucket == bucket_of(token)]
    return found


async def test_shard_that_nobody_listens_to_says_nothing():
    world = Told()
    await world.begin()
    async with running(world.owner):
        await world.trade(world.token)
        await passed(BEATS_S)
    assert world.states.sent == []


async def test_entry_is_the_market_whole_and_its_bucket_is_told_of():
    world = Told()
    (entry,) = await world.begin(world.token)
    timeline = next(iter(world.owner._served.values())).group.timelines[world.token]
    assert (entry.state.sealed, entry.state.changes) == (timeline.sealed, timeline.changes)
    async with running(world.owner):
        for _ in range(3):
            await world.trade(world.token)
            await world.trade(world.other)
        await passed(BEATS_S)
    told = world.messages(BucketStates)
    assert {one.bucket for one in told} == {bucket_of(world.token)}
    assert [one.seq for one in told] == [entry.seq + n for n in (1, 2, 3)]
    assert told[-1].states[0].sealed == timeline.sealed
    last = world.messages(Beat)[-1]
    assert mark_of(last, world.token) == Mark(bucket_of(world.token), 1, told[-1].seq)
    # The other market's block moved the place on, without a message about this one.
    assert last.standings[0].place.number == told[-1].place.number + 1


async def test_beat_never_names_what_is_still_behind_it():
    world = Told()
    await world.begin(world.token)
    async with running(world.owner):
        for _ in range(20):
            await world.trade(world.token)
            await asyncio.sleep(0.01)
    said = 0
    for one in world.states.sent:
        if isinstance(one, BucketStates):
            said = one.seq
        else:
            assert mark_of(one, world.token).seq in (said, 1)


async def test_halt_is_told():
    world = Told()
    await world.begin(world.token)
    async with running(world.owner):
        world.owner.handlers[Halt](Halt(world.token, "differs"))
        await passed(BEATS_S)
    assert world.messages(BucketStates)[-1].states[0].halted


async def test_step_that_breaks_off_leaves_a_gap():
    world = Told()
    (entry,) = await world.begin(world.token)
    (name, position), *_ = world.listener.followers.items()
    block = world.seal()
    torn = replace(block, header=replace(block.header, parent_hash=b"x" * 32))
    batch = FeedBatch(CHAIN_ID, position, (torn,), block.header.number)
    async with running(world.owner):
        with pytest.raises(ConsistencyError):
            world.owner.handlers[Feed](Feed(name[1], batch))
        await passed(BEATS_S)
    assert mark_of(world.messages(Beat)[-1], world.token).seq == entry.seq + 1
    assert world.messages(BucketStates) == []


async def test_message_that_redis_did_not_take_has_a_number_all_the_same():
    world = Told()
    (entry,) = await world.begin(world.token)
    async with running(world.owner):
        world.states.down = True
        await world.trade(world.token)
        await passed(BEATS_S)
        world.states.down = False
        await world.trade(world.token)
        await passed(BEATS_S)
    assert [one.seq for one in world.messages(BucketStates)] == [entry.seq + 2]
    assert world.log.events().count("states_down") == 1
    assert world.owner.handlers[StatusWanted](StatusWanted())["states_dropped"] > 0


async def test_owner_that_was_overtaken_lets_go():
    world = Told()
    await world.begin(world.token)
    bucket = bucket_of(world.token)
    async with running(world.owner):
        world.states.overtaken = {(bucket, 1)}
        await passed(BEATS_S)
        assert bucket not in dict(world.owner.owners)
        assert world.entries(world.token) == ()
        world.states.overtaken.clear()
        world.states.sent.clear()
        await passed(BEATS_S)
    assert world.states.sent == []


async def test_beats_end_when_no_door_hears_them_and_begin_again_behind_a_gap(monkeypatch):
    monkeypatch.setattr(replicating, "UNHEARD_BEATS_MAX", 2)
    world = Told()
    (entry,) = await world.begin(world.token)
    async with running(world.owner):
        world.states.heard = 0
        await passed(2 * BEATS_S)
        world.states.sent.clear()
        await world.trade(world.token)
        await passed(BEATS_S)
        assert world.states.sent == []
        world.states.heard = 1
        (again,) = world.entries(world.token)
        assert again.seq > entry.seq
        await passed(BEATS_S)
        assert mark_of(world.messages(Beat)[-1], world.token).seq == again.seq


async def test_bucket_that_no_door_hears_is_told_no_more_and_the_others_are(monkeypatch):
    monkeypatch.setattr(replicating, "LOOK_S", 0.02)
    world = Told()
    entry, _ = await world.begin(world.token, world.other)
    bucket = bucket_of(world.token)
    assert bucket != bucket_of(world.other)
    async with running(world.owner):
        await passed(BEATS_S)
        assert mark_of(world.messages(Beat)[-1], world.token).seq == entry.seq
        world.states.deaf.add(bucket)
        await passed(2 * BEATS_S)
        world.states.sent.clear()
        await world.trade(world.token)
        await world.trade(world.other)
        await passed(BEATS_S)
        assert {one.bucket for one in world.messages(BucketStates)} == {bucket_of(world.other)}
        marks = [m.bucket for b in world.messages(Beat) for o in b.standings for m in o.marks]
        assert set(marks) == {bucket_of(world.other)}
        # A door that wants it again asks, and sees that there is a gap.
        world.states.deaf.clear()
        (again,) = world.entries(world.token)
        assert again.seq > entry.seq
        await world.trade(world.token)
        await passed(BEATS_S)
        assert world.messages(BucketStates)[-1].seq == again.seq + 1
        assert mark_of(world.messages(Beat)[-1], world.token).seq == again.seq + 1


async def test_bucket_that_is_asked_for_while_it_is_looked_who_hears_it_stays(monkeypatch):
    monkeypatch.setattr(replicating, "LOOK_S", 0.01)
    world = Told()
    await world.begin(world.token)

    async def doors(buckets):
        # It subscribes after it was counted, and asks before the answer is here.
        world.entries(world.token)
        await asyncio.sleep(0)
        return dict.fromkeys(buckets, 0)

    world.states.doors = doors
    async with running(world.owner):
        await passed(2 * BEATS_S)
        world.states.sent.clear()
        await passed(BEATS_S)
    assert mark_of(world.messages(Beat)[-1], world.token).seq == 1


@pytest.mark.parametrize("answers", [(0, 1), (None,)])
async def test_one_look_without_a_door_ends_nothing_nor_does_a_store_that_is_away(
    monkeypatch, answers
):
    monkeypatch.setattr(replicating, "LOOK_S", 0.01)
    world = Told()
    await world.begin(world.token)
    looks = []

    async def doors(buckets):
        looks.append(answers[len(looks) % len(answers)])
        if looks[-1] is None:
            raise TransientError("store_unavailable", "down")
        return dict.fromkeys(buckets, looks[-1])

    world.states.doors = doors
    async with running(world.owner):
        await passed(2 * BEATS_S)
        world.states.sent.clear()
        await passed(BEATS_S)
    assert len(looks) > 5 and mark_of(world.messages(Beat)[-1], world.token).seq == 1


async def test_draining_shard_says_no_more():
    world = Told()
    await world.begin(world.token)
    async with running(world.owner):
        await world.owner.handlers[Drain](Drain())
        world.states.sent.clear()
        await passed(BEATS_S)
        assert world.states.sent == []
        assert world.entries(world.token) == ()
