"""What replicas are told comes out as it went in, also through JSON."""

import pickle
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curves.uniswap_v2 import Pool
from engine.control import Entries
from engine.market import Market
from engine.messages import CurveNumbers, FeeNumbers
from engine.packed_states import pack_beat, pack_states, unpack_beat, unpack_states
from engine.states import Beat, BucketStates, Mark, MarketState, Place, Standing
from tests.support.replica_world import World

ADDRESSES = st.binary(min_size=20, max_size=20)
HASHES = st.binary(min_size=32, max_size=32)
AMOUNTS = st.integers(0, 2**128)
COUNTS = st.integers(0, 2**53)
POOLS = st.builds(Pool, AMOUNTS, AMOUNTS)
MARKETS = st.builds(
    Market,
    token=ADDRESSES,
    creator=ADDRESSES,
    pair=ADDRESSES,
    launchpad=ADDRESSES,
    numbers=st.builds(CurveNumbers, st.integers(0, 1), AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS),
    fees=st.builds(FeeNumbers, *[st.integers(0, 9_900)] * 6),
    launch_block=COUNTS,
    phase=st.sampled_from(["curve", "graduating", "graduated", "reopened"]),
    sold=AMOUNTS,
    raised=AMOUNTS,
    seq=COUNTS,
    block=COUNTS,
    log_index=COUNTS,
    launch_tx=st.none() | HASHES,
    pool=st.none() | POOLS,
    pool_before=st.none() | POOLS,
)
PLACES = st.builds(Place, st.integers(-1, 2**53), HASHES, st.integers(-1, 2**53), COUNTS)
STATES = st.builds(
    MarketState,
    token=ADDRESSES,
    changes=COUNTS,
    sealed=st.none() | MARKETS,
    quoted=st.none() | MARKETS,
    newest=st.tuples(st.integers(-1, 2**53), st.integers(-1, 2**53)),
    halted=st.booleans(),
)
MESSAGES = st.builds(
    BucketStates,
    bucket=st.integers(0, 1_023),
    incarnation=COUNTS,
    seq=COUNTS,
    place=PLACES,
    silence_ms=COUNTS,
    made_ns=st.integers(0, 2**63),
    states=st.lists(STATES, max_size=2).map(tuple),
)
BEATS = st.builds(
    Beat,
    st.integers(0, 2**63),
    st.lists(
        st.builds(
            Standing,
            PLACES,
            COUNTS,
            st.lists(st.builds(Mark, COUNTS, COUNTS, COUNTS), max_size=3).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


@given(MESSAGES)
def test_states_come_out_as_they_went_in(message: BucketStates) -> None:
    assert unpack_states(orjson.loads(orjson.dumps(pack_states(message)))) == message


@given(BEATS)
def test_beat_comes_out_as_it_went_in(beat: Beat) -> None:
    assert unpack_beat(orjson.loads(orjson.dumps(pack_beat(beat)))) == beat


def test_messages_of_a_shard_come_out_as_they_went_in() -> None:
    world = World(Random(3), faults=0.0)
    seen = 0
    for _ in range(60):
        world.trade()
        world.live()
        for message in world.wire:
            pack, unpack = (
                (pack_beat, unpack_beat)
                if isinstance(message, Beat)
                else (pack_states, unpack_states)
            )
            assert unpack(orjson.loads(orjson.dumps(pack(message)))) == message
            seen += isinstance(message, BucketStates)
        world.deliver()
        world.ask()
    assert seen > 10


def test_whole_markets_come_out_as_they_went_in_between_two_actors() -> None:
    world = World(Random(3), faults=0.0)
    world.trade()
    found = Entries(tuple(world.owners[0].entry(token) for token in world.chain.tokens))
    assert all(entry.state.sealed for entry in found.entries)
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("packed", [[], {}, [1, 2], [1] * 7, None, "no"])
def test_anything_else_is_an_error_that_is_caught(packed) -> None:
    for unpack in (unpack_states, unpack_beat):
        with pytest.raises((ValueError, TypeError, IndexError)):
            unpack(packed)
