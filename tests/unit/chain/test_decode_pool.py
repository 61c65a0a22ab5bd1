"""A pair's logs to events: both token orders, our own swaps left out, who sold."""

from dataclasses import replace
from typing import Any

import pytest

from chain.decode import Decoder, RawLog
from engine.errors import ConsistencyError
from engine.messages import Graduated, PoolSwapped, PoolSynced, Reopened, Transferred
from tests.support.chain_settings import LAUNCHPAD, settings
from tests.unit.chain.test_decode import (
    ALICE,
    BOB,
    FOREIGN,
    PAIR,
    TOKEN,
    created,
    decode_one,
    decoder,
    log,
    word,
)

ROUTER = b"\x77" * 20
LOW_WETH, HIGH_WETH = b"\x01" * 20, b"\xee" * 20


def words(*values: int) -> bytes:
    return b"".join(word(value) for value in values)


def ordered(weth: bytes) -> Decoder:
    pad = replace(settings().launchpads[0], version=2)
    return Decoder(settings(launchpads=(pad,), weth=weth), {TOKEN: 2}, {PAIR: TOKEN})


def swap(*amounts: int, sender: bytes = ROUTER, to: bytes = BOB, **fields: Any) -> RawLog:
    return log("Swap", [sender, to], words(*amounts), address=PAIR, **fields)


def into_pair(sender: bytes, **fields: Any) -> RawLog:
    return log("Transfer", [sender, PAIR], word(9), address=TOKEN, **fields)


@pytest.mark.parametrize("weth", [LOW_WETH, HIGH_WETH])
def test_sync_names_the_reserves_by_the_order_of_addresses(weth: bytes) -> None:
    (event,) = ordered(weth).decode([log("Sync", [], words(5, 6), address=PAIR)], block_time=1)
    assert isinstance(event, PoolSynced)
    expected = (5, 6) if weth > TOKEN else (6, 5)
    assert (event.token, event.reserve_token, event.reserve_weth) == (TOKEN, *expected)
    assert (event.at.emitter, event.at.version) == (PAIR, 2)


@pytest.mark.parametrize("weth", [LOW_WETH, HIGH_WETH])
def test_swap_is_a_buy_or_a_sell_by_its_net_amounts(weth: bytes) -> None:
    # (token in, weth in, token out, weth out), more than what is needed on both sides.
    for amounts, is_buy, tokens, eth in [
        ((0, 7, 50, 0), True, 50, 7),
        ((10, 7, 60, 2), True, 50, 5),
        ((50, 0, 0, 7), False, 50, 7),
        ((51, 3, 1, 10), False, 50, 7),
    ]:
        token_in, weth_in, token_out, weth_out = amounts
        order = (
            (token_in, weth_in, token_out, weth_out)
            if weth > TOKEN
            else (weth_in, token_in, weth_out, token_out)
        )
        (event,) = ordered(weth).decode([swap(*order)], block_time=1)
        assert isinstance(event, PoolSwapped)
        assert (event.is_buy, event.tokens, event.eth) == (is_buy, tokens, eth)
        assert (event.trader, event.recipient) == (BOB if is_buy else ROUTER, BOB)


def test_swap_without_a_net_exchange_or_of_a_launchpad_is_no_event() -> None:
    left_out = [
        swap(5, 0, 5, 0),
        swap(9, 9, 1, 1, log_index=1),
        swap(0, 9, 0, 3, log_index=2),
        swap(50, 0, 0, 7, sender=LAUNCHPAD, log_index=3),
    ]
    assert decoder().decode(left_out, block_time=1) == ()
    assert not any(decoder().ours(one) for one in left_out)


def test_sell_is_of_the_last_that_sent_tokens_in_the_same_transaction() -> None:
    sell = (50, 0, 0, 7) if decoder_token_first() else (0, 50, 7, 0)
    logs = [
        into_pair(FOREIGN, log_index=0),
        into_pair(ALICE, log_index=1),
        swap(*sell, log_index=2),
        swap(*sell, log_index=3, tx_hash=b"2" * 32, tx_index=1),
    ]
    events = decoder().decode(logs, block_time=1)
    assert [type(one) for one in events] == [Transferred, Transferred, PoolSwapped, PoolSwapped]
    # Those of the second transaction were sent before it: the caller of the swap stands for them.
    assert [one.trader for one in events if isinstance(one, PoolSwapped)] == [ALICE, ROUTER]


def decoder_token_first() -> bool:
    (event,) = decoder().decode([log("Sync", [], words(1, 2), address=PAIR)], block_time=1)
    assert isinstance(event, PoolSynced)
    return event.reserve_token == 1


def test_pairs_are_learned_from_creations_of_version_2_only() -> None:
    sync = log("Sync", [], words(1, 2), address=PAIR, log_index=1)
    for version, count in [(1, 1), (2, 2)]:
        pad = replace(settings().launchpads[0], version=version)
        found = Decoder(settings(launchpads=(pad,)))
        assert len(found.decode([created(), sync], block_time=1)) == count
        assert found.pairs == ({PAIR: TOKEN} if version == 2 else {})
        known = Decoder(settings(launchpads=(pad,)), {TOKEN: version}, {PAIR: TOKEN})
        assert known.pairs == found.pairs


def test_pair_of_a_stranger_is_dropped() -> None:
    strange = [log("Sync", [], b"", address=FOREIGN), swap(1, 0, 0, 1, log_index=1)]
    strange[1] = replace(strange[1], address=FOREIGN)
    assert decoder().decode(strange, block_time=1) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        log("Sync", [], words(1), address=PAIR),
        log("Sync", [], words(2**112, 1), address=PAIR),
        log("Sync", [ALICE], words(1, 1), address=PAIR),
        log("Swap", [ALICE, BOB], words(1, 0, 0), address=PAIR),
        log("Swap", [ALICE], words(1, 0, 0, 1), address=PAIR),
        log("Graduated", [TOKEN, PAIR], words(*range(8))),
        log("Reopened", [TOKEN], words(1)),
    ],
)
def test_pool_log_of_another_shape_is_malformed(wrong: RawLog) -> None:
    with pytest.raises(ConsistencyError, match="malformed_log"):
        decode_one(wrong)


def test_graduated_and_reopened_read_their_fields() -> None:
    event = decode_one(log("Graduated", [TOKEN, PAIR], words(*range(1, 10))))
    assert isinstance(event, Graduated)
    assert (event.token, event.pair) == (TOKEN, PAIR)
    assert (event.event_seq, event.seq, event.eth_to_pool, event.tokens_to_pool) == (1, 2, 3, 4)
    assert (event.burned, event.liquidity, event.donated_weth) == (5, 6, 7)
    assert (event.reserve_token, event.reserve_weth) == (8, 9)
    event = decode_one(log("Reopened", [TOKEN], words(4, 5)))
    assert isinstance(event, Reopened)
    assert (event.token, event.event_seq, event.seq) == (TOKEN, 4, 5)


def test_version_1_has_no_graduation() -> None:
    version_1 = Decoder(settings(), {TOKEN: 1})
    assert version_1.decode([log("Reopened", [TOKEN], words(4, 5))], block_time=1) == ()
