"""The bridge's vault: random calls against a model, forgeries, races, stolen keys, planted bugs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy import datadir
from deploy.embedded import Embedded
from tests.chaos.report import Row, say
from tests.support.evm import Chain, compile_sources
from tests.support.servers import RISE
from tests.support.vault_adversary import Adversary
from tests.support.vault_beginnings import WRONG, accepted_beginnings
from tests.support.vault_bench import PEER_CHAIN, build
from tests.support.vault_forgeries import Forger
from tests.support.vault_hunt import hunt
from tests.support.vault_machine import Differs, Machine
from tests.support.vault_planted import BUGS, artifacts
from tests.support.vault_race import Race

CALLS_MIN = 100_000
CALLS_A_VAULT = 5_000
RACES_MIN = 1_000
FORGERIES_MIN = 300
PLANS_MIN = 60
NEVER_PAID_TWICE = "released at most once, never lost"
STOLEN_KEYS = "M-1 keys steal nothing; M stolen keys lose a bounded sum"
CONSERVED = "conservation, per id"

Chains = tuple[Chain, Chain]


def rows(seed: int, longer: float) -> list[Row]:
    """All parts, each on chains of its own. `longer` multiplies the least numbers."""
    with datadir.temporary() as folder:
        driver = compile_sources(Path("tests/support/contracts"), folder / "out", quick=True)
        return [
            _timed(_random_calls, driver["VaultDriver"], seed, int(CALLS_MIN * longer)),
            _timed(_forgeries, driver["VaultDriver"], seed, 1),
            _timed(_races, driver["VaultDriver"], seed, int(RACES_MIN * longer)),
            _timed(_stolen_keys, driver["VaultDriver"], seed, int(PLANS_MIN * longer)),
            _timed(_planted, driver["VaultDriver"], seed, 1),
        ]


def _timed(part: Any, driver: dict[str, Any], seed: int, count: int) -> Row:
    began = time.monotonic()
    row: Row = part(driver, seed, count)
    row.figure["seconds"] = round(time.monotonic() - began, 1)
    say(f"{row.part}: {row.trials} in {row.figure['seconds']} s")
    return row


@contextmanager
def _chains() -> Iterator[Chains]:
    with datadir.temporary() as folder, Embedded(folder, durable=False) as embedded:
        opened = [
            Chain(embedded.start_anvil(chain_id, block_time=None, keep_state=False)[0])
            for chain_id in (RISE, PEER_CHAIN)
        ]
        yield opened[0], opened[1]
        for chain in opened:
            chain.close()


def _random_calls(driver: dict[str, Any], seed: int, calls: int) -> Row:
    row = Row(CONSERVED, "vault: random calls against the model", trials_min=CALLS_MIN)
    seen: set[str] = set()
    for number in range(-(-calls // CALLS_A_VAULT)):
        # A node of its own: one that has mined many blocks grows slow.
        with _chains() as (chain, _):
            machine = Machine(build(chain, driver), seed + number)
            try:
                machine.run(CALLS_A_VAULT)
            except Differs as difference:
                row.fail(f"seed {seed + number}: {difference}")
            row.trials += machine.calls
            seen |= set(machine.counts)
    row.figure["kinds"] = len(seen)
    return row


def _forgeries(driver: dict[str, Any], seed: int, count: int) -> Row:
    row = Row(STOLEN_KEYS, "vault: forgeries", trials_min=FORGERIES_MIN)
    with _chains() as (chain, _):
        forger = Forger(build(chain, driver))
        for name in forger.run():
            row.fail(f"accepted: {name}")
        for name in forger.barred:
            row.fail(f"right and refused: {name}")
        for name in accepted_beginnings(chain, forger.vault.artifact):
            row.fail(f"began with {name}")
        row.trials = forger.tried + len(WRONG)
    row.figure["accepted"] = row.failures
    return row


def _races(driver: dict[str, Any], seed: int, trials: int) -> Row:
    part = "vault: release x cancel x refund raced"
    row = Row(NEVER_PAID_TWICE, part, trials_min=RACES_MIN)
    with _chains() as chains:
        race = Race.on(chains, driver)
        race.run(trials, seed)
        for fault in race.faults:
            row.fail(fault)
    row.trials = trials
    row.figure |= {name: race.seen[name] for name in ("Released", "Cancelled", "Refunded")}
    return row


def _stolen_keys(driver: dict[str, Any], seed: int, plans: int) -> Row:
    row = Row(STOLEN_KEYS, "vault: every key stolen", trials_min=PLANS_MIN)
    with _chains() as (chain, _):
        adversary = Adversary(build(chain, driver))
        adversary.known()
        worst = adversary.search(plans, seed)
    row.trials = adversary.plans
    row.figure["loss_to_limit"] = round(worst, 4)
    if worst > 1:
        row.fail(f"{worst} times the limit in a day by {adversary.worst_plan}")
    return row


def _planted(driver: dict[str, Any], seed: int, count: int) -> Row:
    row = Row(NEVER_PAID_TWICE, "vault: planted bugs", trials_min=len(BUGS))
    with datadir.temporary() as folder:
        made = artifacts(BUGS, folder)
    for name, artifact in made.items():
        with _chains() as chains:
            found = hunt(chains, driver, artifact, seed=seed)
        row.trials += 1
        row.figure[name] = ", ".join(found)
        if name != "Sound":
            row.plant(name, caught=bool(found))
        elif found:
            row.fail(f"a sound vault is no bug, but {found}")
    return row
