"""What is decided about a transfer, over all facts that may come together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bridge.messages import CANCEL_AFTER_S
from engine.bridge.requests import (
    COMPLETED,
    DEPOSIT_WAIT_S,
    FAILED,
    PENDING,
    SENDS,
    Action,
    Facts,
    Seen,
    Step,
    decide,
)
from tests.support.transfers import MESSAGE

FINAL, OPEN = Seen(5, b"\1" * 32, True), Seen(9, b"\2" * 32, False)
DEADLINE = MESSAGE.deadline
GOOD = Facts(message=MESSAGE, deposit=FINAL, target_time=DEADLINE - 10_000)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    seen = st.sampled_from([None, OPEN, FINAL])
    deposit = draw(seen)
    return Facts(
        message=MESSAGE if deposit else None,
        deposit=deposit,
        queued=draw(seen),
        released=draw(seen),
        cancelled=draw(seen),
        refunded=draw(seen),
        target_time=draw(st.integers(DEADLINE - 7_200, DEADLINE + 7_200)),
        sending=draw(st.sampled_from([None, Action.RELEASE, Action.CANCEL, Action.REFUND])),
        age_s=draw(st.integers(0, 2 * DEPOSIT_WAIT_S)),
    )


@given(facts())
def test_decide_for_any_facts_is_one_row_and_the_same_again(one: Facts):
    assert decide(one) == decide(one)


@given(facts())
def test_decide_sends_nothing_before_the_deposit_is_final(one: Facts):
    if decide(one).action in SENDS:
        assert one.deposit is not None and one.deposit.final


@given(facts())
def test_decide_sends_nothing_for_what_was_paid_or_while_something_is_sent(one: Facts):
    if decide(one).action in SENDS:
        assert one.released is None and one.refunded is None and one.sending is None


@given(facts())
def test_decide_refunds_only_after_a_final_cancellation(one: Facts):
    if decide(one).action is Action.REFUND:
        assert one.cancelled is not None and one.cancelled.final


@given(facts())
def test_decide_releases_nothing_that_was_cancelled_or_is_too_late(one: Facts):
    if decide(one).action is Action.RELEASE:
        assert one.cancelled is None
        assert one.queued is not None or one.target_time <= DEADLINE


@given(facts())
def test_decide_ends_only_on_what_is_final(one: Facts):
    found = decide(one)
    if found.status == COMPLETED:
        assert one.released is not None and one.released.final
    if found.status == FAILED:
        assert one.deposit is None or (one.refunded is not None and one.refunded.final)


@given(facts())
def test_decide_never_leaves_a_final_deposit_without_an_action_or_something_awaited(one: Facts):
    found = decide(one)
    if one.deposit is FINAL and found.action is Action.WAIT:
        awaited = (
            one.sending,
            one.released,
            one.refunded,
            one.cancelled,
            # between the last release and the first cancel: time itself
            DEADLINE - 60 < one.target_time <= DEADLINE + CANCEL_AFTER_S or None,
        )
        assert any(awaited)


@pytest.mark.parametrize(
    ("changed", "status", "step", "action"),
    [
        ({"deposit": None, "message": None}, PENDING, Step.AWAITING_DEPOSIT, Action.WAIT),
        (
            {"deposit": None, "message": None, "age_s": DEPOSIT_WAIT_S + 1},
            FAILED,
            Step.EXPIRED,
            Action.FINISH,
        ),
        ({"deposit": OPEN}, PENDING, Step.CONFIRMING, Action.WAIT),
        ({}, "PROCESSING", Step.ATTESTING, Action.RELEASE),
        ({"sending": Action.RELEASE}, "PROCESSING", Step.RELEASING, Action.WAIT),
        ({"released": OPEN}, "PROCESSING", Step.RELEASING, Action.WAIT),
        ({"released": FINAL}, COMPLETED, Step.RELEASED, Action.FINISH),
        ({"queued": OPEN}, "PROCESSING", Step.QUEUED, Action.RELEASE),
        (
            {"queued": FINAL, "target_time": DEADLINE + 10**6},
            "PROCESSING",
            Step.QUEUED,
            Action.RELEASE,
        ),
        ({"target_time": DEADLINE}, "PROCESSING", Step.CANCELLING, Action.WAIT),
        (
            {"target_time": DEADLINE + CANCEL_AFTER_S + 1},
            "PROCESSING",
            Step.CANCELLING,
            Action.CANCEL,
        ),
        ({"cancelled": OPEN}, "PROCESSING", Step.CANCELLING, Action.WAIT),
        ({"cancelled": FINAL}, "PROCESSING", Step.REFUNDING, Action.REFUND),
        ({"cancelled": FINAL, "refunded": OPEN}, "PROCESSING", Step.REFUNDING, Action.WAIT),
        ({"cancelled": FINAL, "refunded": FINAL}, FAILED, Step.REFUNDED, Action.FINISH),
        ({"released": FINAL, "refunded": OPEN}, "PROCESSING", Step.CONTRADICTION, Action.ALARM),
        ({"released": OPEN, "cancelled": OPEN}, "PROCESSING", Step.CONTRADICTION, Action.ALARM),
    ],
)
def test_decide_each_row_of_the_table(changed: dict, status: str, step: Step, action: Action):
    found = decide(replace(GOOD, **changed))
    assert (found.status, found.step, found.action) == (status, step, action)
