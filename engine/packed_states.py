"""Messages to read replicas as JSON-ready values and back, without loss.

Written by hand: each change of a market in use crosses to every door, and `engine.codec` reads
the type hints of every field. Amounts are decimal strings, since JSON numbers end at 2**53;
bytes are hex.
"""

from typing import Any

from curves.uniswap_v2 import Pool
from engine.market import Market
from engine.messages import CurveNumbers, FeeNumbers
from engine.states import Beat, BucketStates, Mark, MarketState, Place, Standing

Packed = list[Any]


def pack_states(message: BucketStates) -> Packed:
    """JSON-ready."""
    return [
        message.bucket,
        message.incarnation,
        message.seq,
        _pack_place(message.place),
        message.silence_ms,
        message.made_ns,
        [_pack_state(state) for state in message.states],
    ]


def unpack_states(packed: Packed) -> BucketStates:
    """What `pack_states` was given. Raises ValueError, TypeError or IndexError for another."""
    bucket, incarnation, seq, place, silence_ms, made_ns, states = packed
    return BucketStates(
        bucket=bucket,
        incarnation=incarnation,
        seq=seq,
        place=_place(place),
        silence_ms=silence_ms,
        made_ns=made_ns,
        states=tuple(_state(state) for state in states),
    )


def pack_beat(beat: Beat) -> Packed:
    """JSON-ready."""
    standings = [
        [_pack_place(one.place), one.silence_ms, [list(mark) for mark in one.marks]]
        for one in beat.standings
    ]
    return [beat.made_ns, standings]


def unpack_beat(packed: Packed) -> Beat:
    """What `pack_beat` was given. Raises ValueError, TypeError or IndexError for another."""
    made_ns, standings = packed
    return Beat(
        made_ns,
        tuple(
            Standing(_place(place), silence_ms, tuple(map(Mark._make, marks)))
            for place, silence_ms, marks in standings
        ),
    )


def _pack_place(place: Place) -> Packed:
    return [place.number, place.hash.hex(), place.finalised, place.step]


def _place(packed: Packed) -> Place:
    number, block_hash, finalised, step = packed
    return Place(number, bytes.fromhex(block_hash), finalised, step)


def _pack_state(state: MarketState) -> Packed:
    sealed = None if state.sealed is None else _pack_market(state.sealed)
    quoted = None if state.quoted is None else _pack_market(state.quoted)
    return [state.token.hex(), state.changes, sealed, quoted, *state.newest, state.halted]


def _state(packed: Packed) -> MarketState:
    token, changes, sealed, quoted, block, log_index, halted = packed
    return MarketState(
        token=bytes.fromhex(token),
        changes=changes,
        sealed=None if sealed is None else _market(sealed),
        quoted=None if quoted is None else _market(quoted),
        newest=(block, log_index),
        halted=halted,
    )


def _pack_market(market: Market) -> Packed:
    numbers, fees = market.numbers, market.fees
    return [
        market.token.hex(),
        market.creator.hex(),
        market.pair.hex(),
        market.launchpad.hex(),
        [
            numbers.family,
            str(numbers.a),
            str(numbers.b),
            str(numbers.curve_supply),
            str(numbers.pool_supply),
        ],
        [
            fees.protocol_bps,
            fees.creator_bps,
            fees.launch_bps,
            fees.launch_blocks,
            fees.pool_protocol_bps,
            fees.pool_creator_bps,
        ],
        market.launch_block,
        market.phase,
        str(market.sold),
        str(market.raised),
        market.seq,
        market.block,
        market.log_index,
        None if market.launch_tx is None else market.launch_tx.hex(),
        _pack_pool(market.pool),
        _pack_pool(market.pool_before),
    ]


def _market(packed: Packed) -> Market:
    token, creator, pair, launchpad, numbers, fees, *rest = packed
    launch_block, phase, sold, raised, seq, block, log_index, launch_tx, pool, before = rest
    family, *curve = numbers
    return Market(
        token=bytes.fromhex(token),
        creator=bytes.fromhex(creator),
        pair=bytes.fromhex(pair),
        launchpad=bytes.fromhex(launchpad),
        numbers=CurveNumbers(family, *map(int, curve)),
        fees=FeeNumbers(*fees),
        launch_block=launch_block,
        phase=phase,
        sold=int(sold),
        raised=int(raised),
        seq=seq,
        block=block,
        log_index=log_index,
        launch_tx=None if launch_tx is None else bytes.fromhex(launch_tx),
        pool=_pool(pool),
        pool_before=_pool(before),
    )


def _pack_pool(pool: Pool | None) -> Packed | None:
    return None if pool is None else [str(pool.reserve_token), str(pool.reserve_weth)]


def _pool(packed: Packed | None) -> Pool | None:
    return None if packed is None else Pool(*map(int, packed))
