"""The replica answers what the shard would, or not at all, whatever the wire does."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import replica as replicas
from engine.buckets import bucket_of
from engine.messages import QuoteReply, QuoteRequest
from engine.replica import ASK_AGAIN_S, FLOOR, STALE, UNHELD, Replica
from tests.support.replica_world import LEASE_S, Owner, World, preview_of

SEEDS = 60


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 100),
    faults=st.sampled_from((0.0, 0.1, 0.3, 0.8)),
    fickle=st.sampled_from((0.02, 0.1, 0.5)),
)
def test_replica_answers_as_the_shard_or_passes(
    seed: int, steps: int, faults: float, fickle: float
) -> None:
    # All that happens follows from the seed: to shrink it would only be another story.
    world = World(Random(seed), faults=faults, fickle=fickle)
    world.play(steps)
    assert world.complaints == []


def test_replica_on_a_good_wire_answers_most_quotes() -> None:
    worlds = [World(Random(seed), faults=0.0, fickle=0.0) for seed in range(10)]
    for world in worlds:
        for _ in range(60):
            (world.trade if world.chance.random() < 0.2 else world.live)()
            world.deliver()
            world.ask()
    assert all(world.complaints == [] for world in worlds)
    assert min(world.served for world in worlds) > 300


def test_replica_is_seen_to_pass_for_every_reason() -> None:
    whys: set[str] = set()
    for seed in range(SEEDS):
        world = World(Random(seed))
        world.play(80)
        assert world.complaints == []
        whys |= world.whys
    assert whys == set(replicas.WHYS)


class IgnoresGaps(Replica):
    def _follows(self, known, seq):
        return True

    def _is_ahead(self, known, seq):
        known.seq = seq
        return False


class IgnoresStaleness(Replica):
    def _is_fresh(self, bucket, now):
        return True


class TakesALowerIncarnation(Replica):
    def _is_owner(self, bucket, incarnation):
        self._incarnations[bucket] = incarnation
        return True


class IgnoresTheFloor(Replica):
    def _reaches_floor(self, held, state, bucket, *, mined):
        return True


class KeepsWhatItMadeReady(Replica):
    def _make_ready(self, held, state, bucket, *, sealed):
        first = self.__dict__.setdefault("first", {})
        return first.setdefault(
            (held.ticket, sealed), super()._make_ready(held, state, bucket, sealed=sealed)
        )


@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        (IgnoresGaps, "nothing that the owner ever said"),
        (IgnoresStaleness, "older than the lease"),
        (TakesALowerIncarnation, "a lower incarnation"),
        (IgnoresTheFloor, "a lower version than was named"),
        (IgnoresTheFloor, "without the block of a receipt"),
        (KeepsWhatItMadeReady, "older than the lease"),
    ],
)
def test_replica_with_a_planted_bug_is_caught(planted: type[Replica], seen: str) -> None:
    for seed in range(SEEDS):
        world = World(Random(seed), planted)
        world.play(80)
        if any(one.startswith(seen) for one in world.complaints):
            return
    pytest.fail(f"{planted.__name__} was not seen")


def quiet() -> tuple[World, Owner, QuoteRequest]:
    """A replica that was told nothing, and the first market."""
    world = World(Random(1), faults=0.0)
    return world, world.owners[0], world.requests[0]


def beaten(world: World, owner: Owner) -> None:
    owner.beat()
    for message in world.wire:
        world.tell(message)
    world.wire.clear()


def test_market_is_not_answered_before_an_answer_to_its_own_question() -> None:
    # Until then what was named of it before it came into use may be above what is heard.
    world, owner, request = quiet()
    replica = world.replica
    owner.entry(request.token)
    replica.use(request.token)
    replica.listening(bucket_of(request.token))
    world.chain.scenario.buy(request.token, 10**16)
    world.chain.seal()
    owner.apply()
    beaten(world, owner)
    assert replica.answer(request, world.now) == UNHELD
    ((token, ticket),) = replica.to_ask(world.now, 10)
    replica.entry(owner.entry(token), ticket)
    assert replica.answer(request, world.now) == owner.answer(request)


def test_answer_to_a_question_of_an_earlier_use_is_refused() -> None:
    world, owner, request = quiet()
    replica = world.replica
    owner.entry(request.token)
    replica.use(request.token)
    replica.listening(bucket_of(request.token))
    ((token, ticket),) = replica.to_ask(world.now, 10)
    late = owner.entry(token)
    for other in world.chain.tokens[1:]:
        replica.use(other)
    replica.saw(token, (1, 99))
    replica.use(token)
    replica.listening(bucket_of(token))
    beaten(world, owner)
    replica.entry(late, ticket)
    assert replica.answer(request, world.now) == UNHELD


def test_whole_market_is_asked_for_once_in_a_while_and_only_where_its_changes_are_heard() -> None:
    world, _, request = quiet()
    replica = world.replica
    replica.use(request.token)
    assert replica.to_ask(world.now, 10) == []
    replica.listening(bucket_of(request.token))
    assert [token for token, _ in replica.to_ask(world.now, 10)] == [request.token]
    for later_s, asked in ((0.0, 0), (ASK_AGAIN_S / 2, 0), (ASK_AGAIN_S, 1)):
        replica.use(request.token)
        assert len(replica.to_ask(world.now + later_s, 10)) == asked


def test_receipts_that_are_forgotten_hold_for_all_markets() -> None:
    world, owner, request = quiet()
    replica = world.replica
    owner.entry(request.token)
    replica.use(request.token)
    replica.listening(bucket_of(request.token))
    ((token, ticket),) = replica.to_ask(world.now, 10)
    replica.entry(owner.entry(token), ticket)
    beaten(world, owner)
    assert isinstance(replica.answer(request, world.now), QuoteReply)
    number = owner.group.position.number
    for other in (b"x" * 20, b"y" * 20):
        replica.mined(other, number + 1)
    assert isinstance(replica.answer(request, world.now), QuoteReply)
    replica.mined(b"z" * 20, 0)
    assert replica.answer(request, world.now) == FLOOR


def test_memory_is_bounded() -> None:
    replica = Replica(block_time_s=1.0, markets_max=50, floors_max=20)
    for number in range(500):
        token = number.to_bytes(20, "big")
        replica.use(token)
        replica.listening(bucket_of(token))
        replica.mined(token, number)
        replica.saw(token, (number, 1))
    assert replica.markets == 50
    assert len(replica.used) <= 50 and len(replica._mined) == 20
    assert len(replica.to_ask(1.0, 1_000)) == 50


def held(world: World, owner: Owner, token: bytes) -> None:
    """The replica holds this market, and heard a beat."""
    owner.entry(token)
    world.replica.use(token)
    world.replica.listening(bucket_of(token))
    ((_, ticket),) = world.replica.to_ask(world.now, 10)
    world.replica.entry(owner.entry(token), ticket)
    beaten(world, owner)


def test_beat_that_comes_again_is_no_sign_of_life_even_where_its_age_is_not_known() -> None:
    world, owner, request = quiet()
    held(world, owner, request.token)
    owner.beat()
    (beat,) = world.wire
    world.replica.beat(beat, world.now)
    world.now += LEASE_S + 0.01
    assert world.replica.answer(request, world.now) == STALE
    world.replica.beat(beat, world.now)
    assert world.replica.answer(request, world.now) == STALE


def test_place_of_an_older_step_does_not_come_back() -> None:
    world, owner, request = quiet()
    held(world, owner, request.token)
    owner.beat()
    (late,) = world.wire
    world.wire.clear()
    world.now += 0.01
    world.chain.seal()
    owner.apply()
    beaten(world, owner)
    answer = world.replica.answer(request, world.now)
    assert answer == owner.answer(request)
    world.replica.beat(late, world.now)
    assert world.replica.answer(request, world.now) == answer


def test_preconfirmed_event_that_is_folded_anew_without_a_change_is_told() -> None:
    # An event of the block after next waits, another that does not fit drops what is quoted; the
    # next block, which has neither, brings it back, and no version counts that.
    world, owner, request = quiet()
    held(world, owner, request.token)
    empty = world.chain.scenario.seal()
    world.chain.scenario.buy(request.token, 10**16)
    shown = preview_of(world.chain.scenario.seal())
    misfit = replace(shown.events[0], seq=99, at=replace(shown.events[0].at, log_index=50))
    for message in (shown, replace(shown, events=(misfit,)), empty):
        world.chain.feed.append(message)
        owner.apply()
        beaten(world, owner)
        assert world.replica.answer(request, world.now) == owner.answer(request)
    assert owner.answer(request).as_of.status == "preconfirmed"
