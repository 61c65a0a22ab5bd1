"""When the doors take no transfers: each reason alone, and who is heard."""

from dataclasses import replace

import pytest

from engine.bridge.health import (
    Beat,
    VaultSeen,
    closed_because,
    is_available,
    unavailable_because,
)
from engine.limits import BRIDGE_BEAT_S, BRIDGE_SILENT_S, BRIDGE_TURN_S_MAX

SIGNERS = tuple(bytes([number]) * 20 for number in (1, 2, 3))
RISE, SEPOLIA = (VaultSeen(chain, SIGNERS, 2, paused=False) for chain in (11155931, 11155111))
OPEN = Beat(1.0, "", paused=False)


def why(**fields: object) -> str:
    values: dict[str, object] = {
        "turn_age_s": BRIDGE_TURN_S_MAX,
        "vaults": (RISE, SEPOLIA),
        "signing": SIGNERS[:2],
    } | fields
    return closed_because(str(values.pop("relayer", "")), **values)  # type: ignore[arg-type]


def test_bridge_with_a_quorum_and_a_turn_in_time_is_open():
    assert why() == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"relayer": "halted", "turn_age_s": 10**6, "signing": ()}, "halted"),
        ({"turn_age_s": BRIDGE_TURN_S_MAX + 1, "signing": ()}, "turn within"),
        ({"vaults": (RISE, None)}, "both vaults"),
        ({"vaults": (RISE, replace(SEPOLIA, fault="older")), "signing": ()}, "2 attestors"),
        ({"vaults": (replace(RISE, fault="older"), SEPOLIA), "signing": ()}, "older"),
        ({"signing": SIGNERS[:1]}, "2 attestors that sign for chain 11155931, was 1"),
        ({"signing": SIGNERS[:1] * 3}, "was 1"),
        ({"signing": (SIGNERS[0], b"\x09" * 20)}, "was 1"),
        ({"signing": ()}, "was 0"),
        ({"vaults": (RISE, replace(SEPOLIA, threshold=3))}, "chain 11155111"),
    ],
)
def test_bridge_is_closed_by_the_first_reason_that_fits(fields: dict[str, object], said: str):
    assert said in why(**fields)


def test_beats_come_several_times_within_the_patience():
    assert 3 * BRIDGE_BEAT_S < BRIDGE_SILENT_S


@pytest.mark.parametrize(
    ("beats", "said"),
    [
        ((), "to be heard"),
        ((replace(OPEN, age_s=BRIDGE_SILENT_S + 0.1),), "to be heard"),
        ((replace(OPEN, closed="halted"),), "halted"),
        ((replace(OPEN, closed="old", age_s=9), replace(OPEN, closed="new")), "new"),
        ((replace(OPEN, age_s=BRIDGE_SILENT_S + 0.1), replace(OPEN, closed="halted")), "halted"),
    ],
)
def test_doors_take_nothing_while_nobody_who_is_heard_says_open(beats: tuple[Beat, ...], said: str):
    assert said in unavailable_because(beats) and not is_available(beats)


def test_doors_take_requests_while_one_relayer_is_open():
    beats = (replace(OPEN, closed="halted"), replace(OPEN, age_s=BRIDGE_SILENT_S))
    assert unavailable_because(beats) == "" and is_available(beats)


def test_paused_vaults_are_told_by_the_vaults_and_make_nothing_available():
    beats = (replace(OPEN, paused=True),)
    assert unavailable_because(beats) == "" and not is_available(beats)
