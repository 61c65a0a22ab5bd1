"""Forgeries, races, stolen keys, random calls of the vault; `make chaos` has the long form."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.evm import Chain, Contract
from tests.support.servers import Anvil
from tests.support.vault_adversary import Adversary
from tests.support.vault_bench import PEER_CHAIN, build
from tests.support.vault_forgeries import Forger
from tests.support.vault_hunt import hunt
from tests.support.vault_machine import Differs, Machine
from tests.support.vault_planted import artifacts
from tests.support.vault_race import Race

HOUR, DAY = 3_600, 86_400
CALLS = 1_500
TRIALS = 25
Record = Callable[[str, object], None]


@pytest.fixture
def chains(make_anvil: Callable[..., Anvil]) -> Iterator[tuple[Chain, Chain]]:
    """Two that mine at once; nobody else's."""
    first = Chain(make_anvil(block_time=None).rpc_url)
    second = Chain(make_anvil(PEER_CHAIN, block_time=None).rpc_url)
    yield first, second
    first.close()
    second.close()


def test_no_forgery_is_accepted(chain: Chain, driver: dict[str, Any]) -> None:
    with chain.undone():
        forger = Forger(build(chain, driver))
        assert (forger.run(), forger.barred) == ([], [])
        assert forger.tried > 300


def test_raced_message_is_paid_once(
    chains: tuple[Chain, Chain], driver: dict[str, Any], record_property: Record
) -> None:
    race = Race.on(chains, driver)
    race.run(TRIALS, seed=1)
    record_property("trials", TRIALS)
    assert race.faults == []
    # Every way was taken, and each door was found shut.
    for name in ("Released", "Queued", "Cancelled", "Refunded", "WrongFate", "AlreadyRefunded"):
        assert race.seen[name] > 0, race.seen


def test_stolen_keys_lose_the_limit_in_a_day_and_no_more(
    chains: tuple[Chain, Chain], driver: dict[str, Any]
) -> None:
    adversary = Adversary(build(chains[0], driver))
    adversary.known()
    # A search that finds nothing to take would show nothing.
    assert 0.98 < adversary.search(4, seed=1) <= 1


def test_random_calls_do_what_the_model_does(
    chains: tuple[Chain, Chain], driver: dict[str, Any], record_property: Record
) -> None:
    machine = Machine(build(chains[0], driver), seed=1)
    machine.run(CALLS)
    record_property("trials", machine.calls)
    assert {"Deposited", "Released", "Queued", "Cancelled", "Refunded", "Claimed"} <= set(
        machine.counts
    )
    assert len(machine.counts) > 35, machine.counts


def test_random_calls_find_a_model_that_is_wrong(chain: Chain, driver: dict[str, Any]) -> None:
    with chain.undone():
        machine = Machine(build(chain, driver), seed=1)
        machine.model.fee_bps += 1
        with pytest.raises(Differs, match="deposit"):
            machine.run(200)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return artifacts(("CountWithoutDistinctness",), tmp_path_factory.mktemp("planted"))


@pytest.mark.timeout(300)  # two compilers run first
@pytest.mark.parametrize(("name", "by"), [("CountWithoutDistinctness", "forgeries")])
def test_planted_bug_is_caught(
    chains: tuple[Chain, Chain],
    driver: dict[str, Any],
    planted: dict[str, dict[str, Any]],
    name: str,
    by: str,
) -> None:
    assert hunt(chains, driver, planted[name], first_only=True) == [by]


def test_window_any_day_stays_within_the_limit(
    chain: Chain, harness: dict[str, dict[str, Any]], record_property: Record
) -> None:
    artifact = harness["WindowHarness"]
    place = chain.create(artifact, b"", sender=chain.account("deployer"))
    window, rng, limit, trials = Contract(chain, artifact, place), random.Random(7), 1_000, 0
    for _ in range(25):
        times, amounts = _times(rng), [rng.choice([1, 50, 333, 500, 1_000]) for _ in range(90)]
        lefts, taken = window.call("run", limit, times, amounts)
        spent: list[tuple[int, int]] = []
        for at, amount, left, went in zip(times, amounts, lefts, taken, strict=True):
            hours = [one for when, one in spent if when // HOUR > at // HOUR - 25]
            assert (left, went) == (limit - sum(hours), amount <= limit - sum(hours))
            if went:
                spent.append((at, amount))
            trials += 1
        for at, _ in spent:
            assert sum(one for when, one in spent if at <= when <= at + DAY) <= limit
    record_property("trials", trials)


def _times(rng: random.Random) -> list[int]:
    now, found = rng.randrange(1, 10**9), []
    steps = [0, 1, 60, HOUR - 1, HOUR, HOUR + 1, DAY - 1, DAY, DAY + 1, 25 * HOUR, 26 * HOUR]
    for _ in range(90):
        now += rng.choice([0, 1, 60, rng.randrange(2 * HOUR), rng.randrange(2 * HOUR)])
        if rng.random() < 0.15:
            now += rng.choice(steps)
        if rng.random() < 0.2:
            now = (now // HOUR + 1) * HOUR - rng.choice([0, 1])
        found.append(now)
    return found
