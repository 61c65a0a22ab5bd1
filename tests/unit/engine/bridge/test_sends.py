"""A nonce in every state a chain can show it in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bridge.sends import (
    Fees,
    Make,
    MinedOffer,
    Offer,
    Outcome,
    Send,
    Settle,
    Sight,
    Wait,
    judge,
    raised,
)

FEES = Fees(30, 2)
CAP = 10_000
FIRST = Offer(b"\1" * 32, Fees(100, 10))
SEND = Send(1, b"\2" * 20, 7, (1, 1, b"\3" * 32), "release", b"\4" * 20, b"", 100_000)
OFFERED = replace(SEND, offers=(FIRST,), waited_s=1.0)
FREE = Sight(nonce=7, final_nonce=7, final_number=50)


def following(send: Send, sight: Sight) -> object:
    return judge(send, sight, fees=FEES, cap_wei=CAP, patience_s=3.0)


@pytest.mark.parametrize(
    ("send", "sight", "expected"),
    [
        (SEND, FREE, Make(FEES)),
        (OFFERED, FREE, Wait()),
        (OFFERED, replace(FREE, known=False), Make(FIRST.fees)),
        (replace(OFFERED, waited_s=3.0), FREE, Make(Fees(113, 12))),
        (OFFERED, replace(FREE, nonce=8), Wait()),
        (OFFERED, replace(FREE, nonce=8, final_nonce=8), Settle(Outcome.ELSEWHERE, None, None)),
        (OFFERED, replace(FREE, nonce=8, mined=MinedOffer(FIRST.tx_hash, True, 51)), Wait()),
        (
            OFFERED,
            replace(FREE, nonce=8, mined=MinedOffer(FIRST.tx_hash, True, 50)),
            Settle(Outcome.SUCCEEDED, FIRST.tx_hash, 50),
        ),
        (
            OFFERED,
            replace(FREE, nonce=8, final_nonce=8, mined=MinedOffer(FIRST.tx_hash, False, 50)),
            Settle(Outcome.REVERTED, FIRST.tx_hash, 50),
        ),
    ],
)
def test_judge_each_case(send: Send, sight: Sight, expected: object):
    assert following(send, sight) == expected


fees = st.builds(Fees, st.integers(0, 2 * CAP), st.integers(0, CAP))


@given(last=fees, present=fees)
def test_raised_is_ten_percent_more_of_both_or_the_same_again(last: Fees, present: Fees):
    found = raised(last, present, CAP)
    if found != last:
        assert found.max_fee * 10 >= last.max_fee * 11
        assert found.priority_fee * 10 >= last.priority_fee * 11
        assert found.priority_fee <= found.max_fee <= CAP


def test_raised_follows_a_spike_of_the_base_fee():
    assert raised(Fees(100, 10), Fees(4_000, 10), CAP) == Fees(4_000, 12)
