"""Fees: net and gross, the split, the launch fee by block."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curves.curve import AMOUNT_MAX
from curves.fees import FEE_BPS_MAX, FeeRates, FeeSchedule
from tests.support.curve_strategies import rates

amounts = st.integers(0, AMOUNT_MAX)


@st.composite
def schedules(draw: st.DrawFn) -> FeeSchedule:
    protocol = draw(st.integers(0, 4_000))
    creator = draw(st.integers(0, 4_000))
    launch = draw(st.integers(0, FEE_BPS_MAX - protocol - creator))
    return FeeSchedule(
        protocol, creator, launch, draw(st.integers(0, 300)), draw(st.integers(0, 50))
    )


@given(rates(), amounts)
def test_fees_net_of_gross_is_the_amount_and_gross_is_least(fees: FeeRates, net: int) -> None:
    gross = fees.gross(net)
    assert fees.net(gross) == net
    assert gross == 0 or fees.net(gross - 1) < net


@given(rates(), amounts)
def test_fees_split_is_whole_and_protocol_takes_the_rounding(fees: FeeRates, gross: int) -> None:
    net = fees.net(gross)
    protocol, creator, launch = fees.split(gross, net)
    assert protocol + creator + launch + net == gross
    assert creator == gross * fees.creator_bps // 10_000
    assert launch == gross * fees.launch_bps // 10_000
    assert protocol >= gross * fees.protocol_bps // 10_000


@pytest.mark.parametrize(
    ("block", "launch_bps"),
    [
        (0, 2_000),
        (1_000, 2_000),
        (1_001, 1_933),
        (1_015, 1_000),
        (1_029, 66),
        (1_030, 0),
        (9**9, 0),
    ],
)
def test_launch_fee_falls_by_block_from_the_launch(block: int, launch_bps: int) -> None:
    schedule = FeeSchedule(100, 50, 2_000, 30, 1_000)
    assert schedule.at(block) == FeeRates(100, 50, launch_bps)
    assert schedule.without_launch() == FeeRates(100, 50, 0)


@given(schedules(), st.integers(0, 400))
def test_launch_fee_never_rises(schedule: FeeSchedule, block: int) -> None:
    now, then = schedule.at(block), schedule.at(block + 1)
    assert now.launch_bps >= then.launch_bps >= 0
    assert now.total_bps <= FEE_BPS_MAX


@settings(deadline=None)
@given(schedules(), st.integers(0, 400))
def test_exact_until_is_the_last_block_of_the_same_rates(schedule: FeeSchedule, block: int) -> None:
    until = schedule.exact_until(block)
    rate = schedule.at(block)
    if until is None:
        assert all(schedule.at(later) == rate for later in range(block, block + 400))
        return
    assert until >= block
    assert all(schedule.at(later) == rate for later in range(block, until + 1))
    assert schedule.at(until + 1) != rate
