"""The short form of the simulation; the long one is part of `make chaos`."""

import pytest

from tests.simulation.planted import PLANTED, caught
from tests.simulation.runs import LIES, simulate

pytestmark = pytest.mark.timeout(120)
SEEDS = {"reorg": range(5), "deep": range(2), "shreds": range(2), "kills": range(4)}
SEEDS |= {"scaling": range(2)}


@pytest.mark.parametrize(
    ("kind", "seed"), [(kind, seed) for kind, seeds in SEEDS.items() for seed in seeds]
)
def test_simulation_ends_as_the_model_says(url: str, kind: str, seed: int) -> None:
    outcome = simulate(seed, kind=kind, url=url)
    assert not outcome.failures and outcome.trials, f"--kind {kind} --seed {seed}: {outcome}"


@pytest.mark.parametrize("mode", sorted(LIES))
def test_simulation_lying_node_loses_nothing(url: str, mode: str) -> None:
    outcome = simulate(3, kind="lies", url=url, mode=mode)
    assert not outcome.failures, f"--kind lies --mode '{mode}' --seed 3: {outcome}"


def test_simulation_recovery_is_identical_and_bad_snapshots_are_refused(url: str) -> None:
    outcome = simulate(1, kind="recovery", url=url)
    assert not outcome.failures and outcome.trials > 10, outcome


@pytest.mark.parametrize("name", ["a shard pops one block too few", "the node is believed"])
def test_simulation_planted_bug_is_caught(url: str, name: str) -> None:
    (one,) = [one for one in PLANTED if one.name == name]
    assert caught(one, url, first_seed=500)
