"""What may be asked for, and how long it takes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bridge.requests import COMPLETED, PROCESSING, Step
from engine.bridge.transfers import (
    RELAY_S,
    UNKNOWN_S,
    Cursor,
    Terms,
    Transfer,
    mined,
    offer,
    seconds_left,
    told,
)
from engine.errors import CallerError, RiseCurveError, TransientError

ETH = 10**18
WALLET = b"\x33" * 20
SOURCE = Terms(
    chain_id=1,
    vault=b"\x01" * 20,
    paused=False,
    limit=500 * ETH,
    left=500 * ETH,
    pool=1_000 * ETH,
    fee_bps=10,
    minimum=1,
)
TARGET = replace(SOURCE, chain_id=2, vault=b"\x02" * 20, limit=100 * ETH, left=50 * ETH, fee_bps=99)
LEAST = ETH // 1_000
HERE = Cursor(100, 1_000, 96, 988)
THERE = Cursor(500, 2_000, 498, 1_998)
PLAIN = Transfer(
    key=(1, 1, b"\x07" * 32),
    target_chain=2,
    message=None,
    requested=True,
    user=WALLET,
    recipient=WALLET,
    amount=ETH,
    fee=None,
    deadline=None,
    status="PENDING",
    step="awaiting_deposit",
    reason="",
    attempts=0,
    created=0.0,
    updated=0.0,
    ended=None,
)


def refused(amount: int = ETH, recipient: bytes = WALLET, **ends: Terms) -> RiseCurveError:
    given = {"source": SOURCE, "target": TARGET} | ends
    with pytest.raises(RiseCurveError) as caught:
        offer(amount, recipient, least=LEAST, **given)
    return caught.value


def test_offer_takes_the_sources_fee_and_says_whether_the_targets_window_is_full() -> None:
    small = offer(40 * ETH, WALLET, source=SOURCE, target=TARGET, least=LEAST)
    assert (small.fee, small.receives, small.queued) == (ETH // 25, 40 * ETH - ETH // 25, False)
    assert offer(50 * ETH + 1, WALLET, source=SOURCE, target=TARGET, least=LEAST).queued
    assert offer(LEAST, WALLET, source=SOURCE, target=TARGET, least=LEAST).receives > 0


@pytest.mark.parametrize("end", ["source", "target"])
def test_offer_with_either_vault_paused_is_bridge_paused_whatever_else_is_wrong(end: str) -> None:
    ends = {"source": SOURCE, "target": TARGET}
    error = refused(1, bytes(20), **(ends | {end: replace(ends[end], paused=True)}))
    assert isinstance(error, TransientError) and error.code == "bridge_paused"


@pytest.mark.parametrize("recipient", [bytes(20), SOURCE.vault, TARGET.vault])
def test_offer_to_a_vault_or_nobody_is_invalid_address(recipient: bytes) -> None:
    assert refused(recipient=recipient).code == "invalid_address"


def test_offer_refuses_what_either_vault_would_at_the_very_edge() -> None:
    assert refused(LEAST - 1).code == "below_minimum"
    assert refused(100 * ETH + 1).code == "above_limit"
    assert refused(100 * ETH + 1, source=TARGET, target=SOURCE).code == "above_limit"
    offer(100 * ETH, WALLET, source=SOURCE, target=TARGET, least=LEAST)
    short = replace(TARGET, pool=10 * ETH)
    assert refused(10 * ETH + 1, target=short).code == "not_enough_liquidity"
    offer(10 * ETH, WALLET, source=SOURCE, target=short, least=LEAST)
    # It is the target that pays: what the source has does not count.
    offer(10 * ETH, WALLET, source=replace(SOURCE, pool=0), target=TARGET, least=LEAST)


@pytest.mark.parametrize("end", ["source", "target"])
def test_offer_takes_no_less_than_either_vault_nor_than_we_want(end: str) -> None:
    ends = {"source": SOURCE, "target": TARGET}
    ends[end] = replace(ends[end], minimum=ETH)
    assert refused(ETH - 1, **ends).args[-1] == {"minimum": "1"}
    offer(ETH, WALLET, **ends, least=LEAST)
    ends[end] = replace(ends[end], minimum=LEAST - 1)
    assert refused(LEAST - 1, **ends).code == "below_minimum"


@given(
    amount=st.integers(0, 200 * ETH),
    limits=st.tuples(st.integers(0, 150 * ETH), st.integers(0, 150 * ETH)),
    pool=st.integers(0, 150 * ETH),
    paused=st.booleans(),
)
def test_offer_that_is_made_would_be_taken_by_both_vaults(
    amount: int, limits: tuple[int, int], pool: int, paused: bool
) -> None:
    source = replace(SOURCE, limit=limits[0])
    target = replace(TARGET, limit=limits[1], pool=pool, paused=paused)
    try:
        made = offer(amount, WALLET, source=source, target=target, least=LEAST)
    except (CallerError, TransientError):
        return
    assert LEAST <= amount <= min(*limits, pool) and not paused
    assert made.fee + made.receives == amount and made.queued == (amount > target.left)


def test_mined_counts_its_own_block_and_is_final_at_the_final_block() -> None:
    assert mined(b"", 100, 0, at=HERE).confirmations == 1
    assert mined(b"", 96, 0, at=HERE).final and not mined(b"", 97, 0, at=HERE).final
    above = mined(b"", 101, 0, at=HERE)
    assert (above.confirmations, above.final) == (0, False)
    assert not mined(b"", 1, 0, at=None).final


def test_seconds_left_falls_step_by_step() -> None:
    # 12 s to be final here, 2 s there.
    assert seconds_left(PLAIN, HERE, THERE) == 12 + RELAY_S + 2
    deposit = mined(b"", 98, 994, at=HERE)
    confirming = replace(PLAIN, deposit=deposit, step="confirming")
    assert seconds_left(confirming, HERE, THERE) == 6 + RELAY_S + 2
    final = replace(PLAIN, deposit=mined(b"", 96, 988, at=HERE), status=PROCESSING)
    assert seconds_left(final, HERE, THERE) == RELAY_S + 2
    paid = replace(final, payment=mined(b"", 500, 2_000, at=THERE))
    assert seconds_left(paid, HERE, THERE) == 2
    assert seconds_left(replace(paid, status=COMPLETED), HERE, THERE) == 0


def test_seconds_left_is_unknown_where_nobody_can_tell() -> None:
    for step in (Step.QUEUED, Step.REFUNDING, Step.CONTRADICTION):
        assert seconds_left(replace(PLAIN, step=step.value), HERE, THERE) is None
    assert seconds_left(replace(PLAIN, status="FAILED"), HERE, THERE) is None
    assert seconds_left(PLAIN, None, THERE) is None
    assert seconds_left(PLAIN, HERE, None) == 12 + RELAY_S + UNKNOWN_S
    assert Cursor(5, 50, -1, 50).lag_s == UNKNOWN_S


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("", None),
        ("WindowFull", "WindowFull"),
        ("its fate is decided, the event is awaited", "its fate is decided, the event is awaited"),
        ("1 of 2 signatures: not_final", "1 of 2 signatures: not_final"),
        (
            "stale_chain: Node not reached: ClientConnectorError(host='node.internal')",
            "stale_chain",
        ),
        ("http://user:secret@10.0.0.1:8545", "http"),
    ],
)
def test_told_leaves_no_host_in_a_reason(reason: str, shown: str | None) -> None:
    assert told(reason) == shown
