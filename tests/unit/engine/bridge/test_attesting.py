"""What an attestor refuses: each rule broken alone, and any message that differs in a field."""

from dataclasses import fields, replace
from typing import Any

import pytest

from engine.bridge import attesting
from engine.bridge.attesting import Evidence, Found
from engine.bridge.messages import Fate, Message
from tests.support.transfers import MESSAGE, RISE, SEPOLIA, VAULTS

SIGNER = b"\x0a" * 20
FOUND = Found(MESSAGE, 10, b"\x0b" * 32, 12)
SEEN = Evidence(
    event=FOUND,
    depositor=MESSAGE.depositor,
    amount=MESSAGE.amount,
    refunded=False,
    fate=Fate.NONE,
    target_time=MESSAGE.deadline,
    signers=(b"\x01" * 20, SIGNER),
)
CANCELLED = replace(SEEN, fate=Fate.CANCELLED)


def test_release_of_a_final_deposit_is_signed():
    assert attesting.refuse_release(MESSAGE, SIGNER, SEEN) is None


def test_release_of_a_queued_message_is_signed_after_the_deadline():
    late = replace(SEEN, fate=Fate.QUEUED, target_time=MESSAGE.deadline + 10**6)
    assert attesting.refuse_release(MESSAGE, SIGNER, late) is None


def test_refund_of_a_final_cancellation_is_signed():
    assert attesting.refuse_refund(MESSAGE, SIGNER, CANCELLED) is None


BROKEN: dict[str, dict[str, Any]] = {
    "not_final": {"event": replace(FOUND, block_number=13)},
    "unknown": {"event": replace(FOUND, message=None)},
    "mismatch": {"amount": 1},
    "fate": {"refunded": True},
    "not_a_signer": {"signers": (b"\x01" * 20,)},
}


@pytest.mark.parametrize("code", BROKEN)
def test_release_and_refund_with_one_rule_broken_are_refused(code: str):
    release = attesting.refuse_release(MESSAGE, SIGNER, replace(SEEN, **BROKEN[code]))
    refund = attesting.refuse_refund(MESSAGE, SIGNER, replace(CANCELLED, **BROKEN[code]))
    assert release is not None and release.code == code
    assert refund is not None and refund.code == code


@pytest.mark.parametrize("fate", [Fate.RELEASED, Fate.CANCELLED])
def test_release_of_what_has_a_fate_is_refused(fate: Fate):
    found = attesting.refuse_release(MESSAGE, SIGNER, replace(SEEN, fate=fate))
    assert found is not None and found.code == "fate"


@pytest.mark.parametrize("fate", [Fate.NONE, Fate.QUEUED, Fate.RELEASED])
def test_refund_of_what_is_not_cancelled_is_refused(fate: Fate):
    found = attesting.refuse_refund(MESSAGE, SIGNER, replace(SEEN, fate=fate))
    assert found is not None and found.code == "fate"


def test_release_after_the_deadline_is_refused():
    late = replace(SEEN, target_time=MESSAGE.deadline + 1)
    found = attesting.refuse_release(MESSAGE, SIGNER, late)
    assert found is not None and found.code == "expired"


@pytest.mark.parametrize("name", [field.name for field in fields(Message)])
def test_message_with_any_field_changed_has_another_id_and_is_refused(name: str):
    value = getattr(MESSAGE, name)
    other = replace(
        MESSAGE,
        **{
            name: value[:-1] + b"\xff"
            if name.endswith(("vault", "depositor", "recipient"))
            else value + 1
        },
    )
    assert other.id != MESSAGE.id
    found = attesting.refuse_release(other, SIGNER, SEEN)
    assert found is not None and found.code == "mismatch"


def test_ends_only_our_two_vaults_are_ours():
    assert attesting.ends_are_ours(MESSAGE, VAULTS)
    for changed in (
        replace(MESSAGE, source_vault=b"\x09" * 20),
        replace(MESSAGE, target_chain=1),
        replace(MESSAGE, source_chain=RISE, source_vault=VAULTS[RISE]),
        replace(MESSAGE, target_chain=SEPOLIA),
    ):
        assert not attesting.ends_are_ours(changed, VAULTS)
