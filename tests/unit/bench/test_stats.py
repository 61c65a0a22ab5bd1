"""Ratios and gates: noise is no loss, a loss is no noise."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.stats import ALTERNATIONS_MIN, Gate, Ratio, losses, ratio

FIGURES = st.lists(st.floats(1, 1e6), min_size=2, max_size=20)


def noisy(middle: float, seed: int, count: int = 14, spread: float = 0.2) -> list[float]:
    dice = random.Random(seed)
    return [middle * dice.uniform(1 - spread, 1 + spread) for _ in range(count)]


def test_ratio_is_of_the_medians() -> None:
    found = ratio([1, 2, 300], [1, 1, 1])
    assert (found.value, found.alternations) == (2.0, 3)


@settings(max_examples=10, deadline=None)
@given(FIGURES)
def test_ratio_to_oneself_is_one(figures: list[float]) -> None:
    found = ratio(figures, figures)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_interval_holds_the_truth_in_most_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.stats.RESAMPLES", 400)
    inside = 0
    for seed in range(60):
        found = ratio(noisy(150, seed), noisy(100, seed + 1_000), seed=seed)
        inside += found.low <= 1.5 <= found.high
    assert inside >= 50


def test_interval_is_the_same_for_the_same_seed() -> None:
    a, b = noisy(3, 1), noisy(2, 2)
    assert ratio(a, b) == ratio(a, b)


@pytest.mark.parametrize(
    ("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [-1.0])]
)
def test_ratio_of_nonsense_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        ratio(ours, theirs)


def of(value: float, low: float, high: float, alternations: int = 12) -> Ratio:
    return Ratio(value, low, high, alternations)


def test_gate_fails_only_if_the_whole_interval_is_beyond_the_line() -> None:
    gate = Gate("a", least=1.5)
    assert gate.holds(of(1.4, 1.3, 1.5)) and not gate.reached(of(1.4, 1.3, 1.5))
    assert not gate.holds(of(1.4, 1.3, 1.49))
    most = Gate("b", most=1.2)
    assert most.holds(of(1.3, 1.2, 1.4)) and not most.reached(of(1.3, 1.2, 1.4))
    assert not most.holds(of(1.3, 1.21, 1.4))


def test_gate_takes_no_ratio_of_few_alternations() -> None:
    with pytest.raises(ValueError, match="12 alternations"):
        Gate("a", least=1.0).holds(of(2, 2, 2, ALTERNATIONS_MIN - 1))


def test_real_loss_fails_its_gate_and_noise_does_not() -> None:
    gate = Gate("a", least=1.0)
    assert gate.holds(ratio(noisy(100, 1), noisy(100, 2)))
    assert not gate.holds(ratio(noisy(60, 1), noisy(100, 2)))


def test_losses_name_what_the_interval_confirms() -> None:
    baseline = {"rate": 2.0, "p50": 1.0, "gone": 1.0}
    found = {"rate": of(1.5, 1.4, 1.6), "p50": of(1.5, 0.9, 1.6), "new": of(1, 1, 1)}
    assert losses(baseline, found, lower_is_better=["p50"]) == [
        "rate: Expected 2.000, was 1.500 (1.400 to 1.600)"
    ]
    found["p50"] = of(1.5, 1.1, 1.6)
    assert len(losses(baseline, found, lower_is_better=["p50"])) == 2
