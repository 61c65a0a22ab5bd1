"""The harness against one vault: what each of its parts finds."""

from typing import Any

from tests.support.evm import Chain, Reverted
from tests.support.vault_adversary import Adversary
from tests.support.vault_beginnings import accepted_beginnings
from tests.support.vault_bench import build
from tests.support.vault_forgeries import Forger
from tests.support.vault_machine import Differs, Machine
from tests.support.vault_race import Race

CALLS = 600
TRIALS = 12


def hunt(
    chains: tuple[Chain, Chain],
    driver: dict[str, Any],
    artifact: dict[str, Any],
    *,
    seed: int = 1,
    first_only: bool = False,
) -> list[str]:
    """Names of the parts that found a fault; with `first_only` it stops at the first of them."""
    found: list[str] = []
    for name, part in _PARTS.items():
        # Two dozen blocks each, taken back, so that the next part begins like this one.
        with chains[0].undone(), chains[1].undone():
            if part(chains, driver, artifact, seed):
                found.append(name)
        if found and first_only:
            break
    return found


def _beginnings(chains: Any, driver: Any, artifact: dict[str, Any], seed: int) -> bool:
    return bool(accepted_beginnings(chains[0], artifact))


def _forgeries(chains: Any, driver: Any, artifact: dict[str, Any], seed: int) -> bool:
    forger = Forger(build(chains[0], driver, artifact=artifact))
    return bool(forger.run() or forger.barred)


def _race(chains: Any, driver: Any, artifact: dict[str, Any], seed: int) -> bool:
    race = Race.on(chains, driver, artifact)
    try:
        race.run(TRIALS, seed)
    except (AssertionError, Reverted):
        return True
    return bool(race.faults)


def _adversary(chains: Any, driver: Any, artifact: dict[str, Any], seed: int) -> bool:
    return Adversary(build(chains[0], driver, artifact=artifact)).known() > 1.0


def _machine(chains: Any, driver: Any, artifact: dict[str, Any], seed: int) -> bool:
    try:
        Machine(build(chains[0], driver, artifact=artifact), seed).run(CALLS)
    except (Differs, Reverted):
        return True
    return False


_PARTS = {
    "beginnings": _beginnings,
    "forgeries": _forgeries,
    "adversary": _adversary,
    "race": _race,
    "random calls": _machine,
}
