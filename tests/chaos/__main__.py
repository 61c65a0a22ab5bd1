"""`python -m tests.chaos`: the fault suite, and its report.

Every part runs its least number of trials, however short the time is; what is left of it is
shared out among the parts that have a rate of trials. The report says how long each took.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from deploy import datadir
from deploy.embedded import Embedded
from tests.chaos import (
    bridge,
    cluster,
    contracts,
    histories,
    lies,
    points,
    processes,
    recovery,
    replicas,
    scaling,
    sockets,
    stores,
    strain,
    vault,
    world,
)
from tests.chaos.report import Report, Row, say
from tests.support import ray_nodes
from tests.support.servers import RISE, Anvil
from tests.support.tcp_proxy import TcpProxy


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    cuts: int
    reorgs: int
    kills: int
    lie_s: float
    contradiction_s: float
    freezes: int
    stops: int
    overload_s: float
    shard_kills: int
    simulation_s: float
    outages: int
    outage_s: float
    point_kills: int
    point_real_kills: int
    point_bugs: int
    scalings: int
    node_kills: int
    transfers: int
    nonces: int
    thefts: int
    bridge_bugs: int

    @classmethod
    def of(cls, duration_s: float, *, short: bool) -> "Plan":
        if short:
            return cls(12, 6, 6, 0.5, 3.0, 1, 1, 4.0, 0, 0.0, 3, 2.0, 30, 2, 1, 0, 0, 8, 8, 1, 3)
        longer = max(duration_s / 900, 1.0)
        return cls(
            cuts=int(sockets.CUTS_MIN * longer),
            reorgs=int(histories.REORGS_MIN * longer),
            # An hour is four times as long, and ten times as many kills are promised of it.
            kills=max(
                processes.KILLS_MIN, int(300 * (duration_s - 900) / 2700) if longer > 1 else 0
            ),
            lie_s=2.0 * longer,
            contradiction_s=8.0 * longer,
            freezes=int(2 * longer),
            stops=int(2 * longer),
            overload_s=10.0,
            shard_kills=recovery.KILLS_MIN,
            simulation_s=0.2 * duration_s,
            outages=len(stores.CASES),
            outage_s=3.0,
            point_kills=int(points.KILLS_MIN * longer),
            point_real_kills=int(points.REAL_KILLS_MIN * longer),
            point_bugs=len(points.PLANTED),
            scalings=int(scaling.ROUNDS_MIN * longer),
            node_kills=int(cluster.KILLS_MIN * longer),
            transfers=int(bridge.TRANSFERS_MIN * longer),
            nonces=int(bridge.CASES_MIN * longer),
            thefts=int(bridge.THEFTS_MIN * longer),
            bridge_bugs=len(bridge.planted.BUGS),
        )


ON_ONE_SYSTEM = (
    "reorgs",
    "cuts",
    "lies",
    "contradictions",
    "overload",
    "frozen",
    "kills",
    "one writer",
    "scaling",
)
Part = Callable[[], Awaitable[Row | list[Row]]]

PART_S_MAX = 600.0
"""A part that takes longer is broken, and the next one begins; in a longer run, its length."""


async def on_one_system(report: Report, plan: Plan, anvil: Anvil, folder: Path) -> None:
    """The parts that need a system behind a proxy."""
    async with world.opened(anvil, folder, seed=report.seed, through=True) as one:
        churn = strain.Churn(one)
        churn.start()
        await _parts(report, plan, one)
        await churn.stop()
        report.add(strain.leaks(one, churn))


async def all_on_one_system(
    report: Report, plan: Plan, anvil: Anvil, folder: Path, urls: dict[str, str]
) -> None:
    """The short form: the same system loses its stores afterwards, for another would take a while
    to start. Memory is not looked at: a slope needs minutes.
    """
    async with stores.opened(anvil, folder, urls, seed=report.seed) as (one, proxies):
        churn = strain.Churn(one)
        churn.start()
        await _parts(report, plan, one)
        await churn.stop()
        if report.wants("stores"):
            with report.part("stores"):
                report.add(*await _outages(report, plan, one, proxies))


async def _parts(report: Report, plan: Plan, one: world.World) -> None:
    rng = random.Random(report.seed)
    parts: dict[str, Part] = {
        "reorgs": lambda: histories.reorgs(one, rng, plan.reorgs),
        "cuts": lambda: sockets.cuts(one, rng, plan.cuts),
        "lies": lambda: lies.lies(one, plan.lie_s),
        "contradictions": lambda: lies.contradictions(one, plan.contradiction_s),
        "overload": lambda: strain.overload(one, plan.overload_s),
        "frozen": lambda: lies.frozen(one, rng, plan.freezes),
        "kills": lambda: processes.kills(one, rng, plan.kills, limit_s=report.quotes_back_s),
        "one writer": lambda: processes.one_writer(one, plan.stops),
        "scaling": lambda: scaling.scaling(
            one, rng, max(plan.scalings, 1), limit_s=report.pause_s_max
        ),
    }
    if not plan.scalings and not report.names("scaling"):
        del parts["scaling"]
    for name, part in parts.items():
        if not report.wants(name):
            continue
        with report.part(name):
            rows = await asyncio.wait_for(part(), max(PART_S_MAX, report.duration_s))
            report.add(*(rows if isinstance(rows, list) else [rows]))
    if report.quote_path == "replica" and any(map(report.wants, parts)):
        with report.part("replica"):
            report.add(await replicas.row(one))


async def _outages(
    report: Report, plan: Plan, one: world.World, proxies: dict[str, TcpProxy]
) -> list[Row]:
    rng = random.Random(report.seed)
    return await stores.outages(one, proxies, rng, cases=plan.outages, hold_s=plan.outage_s)


def recover(report: Report, plan: Plan) -> None:
    """The part that needs a long history, on a system of its own."""
    if not report.wants("recovery"):
        return
    size, rng = recovery.Size(), random.Random(report.seed)
    with (
        datadir.temporary() as folder,
        Embedded(folder / "node", durable=False) as embedded,
        report.part("recovery"),
    ):
        work = recovery.run(embedded, folder, rng, kills=plan.shard_kills, size=size)
        report.add(*asyncio.run(work))


def simulate(report: Report, plan: Plan) -> None:
    """The same roles as plain classes on a deterministic loop, over a real Postgres."""
    with (
        datadir.temporary() as folder,
        Embedded(folder, durable=False) as embedded,
        report.part("simulation"),
    ):
        from tests.simulation import run

        url = embedded.start_postgres()
        report.add_values(
            *run.rows(plan.simulation_s, report.seed, url, short=report.short, say=say)
        )


def lose_stores(report: Report, plan: Plan) -> None:
    """Postgres, MongoDB and Redis away, on a system of its own."""
    if not report.wants("stores"):
        return

    async def work(anvil: Anvil, folder: Path, urls: dict[str, str]) -> None:
        async with stores.opened(anvil, folder, urls, seed=report.seed) as (one, proxies):
            report.add(*await _outages(report, plan, one, proxies))

    with (
        datadir.temporary() as folder,
        Embedded(folder / "node", durable=False) as embedded,
        report.part("stores"),
    ):
        asyncio.run(work(started(embedded), folder, stores.started(embedded)))


def count_points(report: Report, plan: Plan) -> None:
    """The ledger of points is killed, over stores of its own."""
    if not report.wants("points"):
        return
    rng = random.Random(report.seed)
    with (
        datadir.temporary() as folder,
        Embedded(folder / "node", durable=False) as embedded,
        report.part("points"),
    ):
        urls = (embedded.start_postgres(), embedded.start_mongod())
        work = points.rows(
            *urls,
            rng,
            kills=plan.point_kills,
            real=plan.point_real_kills,
            planted=plan.point_bugs,
        )
        report.add(*asyncio.run(work))


def started(embedded: Embedded) -> Anvil:
    """A chain that finalises late enough for every reorg."""
    rpc_url, ws_url = embedded.start_anvil(
        RISE, block_time=world.BLOCK_S, slots_in_an_epoch=32, keep_state=False
    )
    return Anvil(rpc_url, ws_url, RISE, embedded.pid(f"anvil-{RISE}"))


def lose_nodes(report: Report, plan: Plan) -> None:
    """A system on a Ray cluster of three nodes; before anything else imports Ray, which reads
    its environment then.
    """
    if not report.wants("cluster"):
        return
    with (
        datadir.temporary() as folder,
        Embedded(folder / "node", durable=False) as embedded,
        report.part("cluster"),
    ):
        ray_nodes.prepare(folder)
        rpc_url, ws_url = embedded.start_anvil(
            RISE, block_time=1, slots_in_an_epoch=32, keep_state=False
        )
        anvil = Anvil(rpc_url, ws_url, RISE, embedded.pid(f"anvil-{RISE}"))
        urls, rng = stores.started(embedded), random.Random(report.seed)
        size, kills = (cluster.SMALL, 1) if report.short else (cluster.WHOLE, plan.node_kills)
        report.add(*asyncio.run(cluster.run(anvil, folder, urls, rng, size, kills=kills)))


def check_contracts(report: Report) -> None:
    """The suites that hold the contracts against their twins."""
    if not report.wants("contracts"):
        return
    with datadir.temporary() as folder, report.part("contracts"):
        report.add(*asyncio.run(contracts.rows(folder)))


def move_across(report: Report, plan: Plan) -> None:
    """The bridge's roles between two chains of their own."""
    if not report.wants("bridge"):
        return
    counts = {"transfers": plan.transfers, "cases": plan.nonces, "thefts": plan.thefts}
    with report.part("bridge"):
        report.add(*bridge.run(report.seed, **counts, bugs=plan.bridge_bugs))


def check_vault(report: Report) -> None:
    """The bridge's contract on chains of its own."""
    if not report.wants("vault"):
        return
    with report.part("vault"):
        report.add(*vault.rows(report.seed, max(report.duration_s / 900, 1.0)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--duration", type=float, default=900.0, help="seconds, about")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, default=Path("chaos-report.json"))
    parser.add_argument("--only", default="", help="parts by name, separated by commas")
    parser.add_argument("--short", action="store_true", help="a part of each, under 4 minutes")
    parser.add_argument(
        "--quote-path",
        choices=("actor", "replica"),
        default=os.environ.get("QUOTE_PATH") or "replica",
        help="where the doors take quotes from",
    )
    asked = parser.parse_args()
    os.environ["QUOTE_PATH"] = asked.quote_path  # every system that is brought up inherits it
    plan = Plan.of(asked.duration, short=asked.short)
    report = Report(
        seed=asked.seed,
        duration_s=asked.duration,
        short=asked.short,
        only=asked.only,
        quote_path=asked.quote_path,
    )
    say(f"seed {asked.seed}, {plan}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a report is written
    try:
        _run(report, plan)
    finally:
        ok = report.write(asked.out)
        say(f"{'all is well' if ok else 'NOT WELL'}: {asked.out}")
    return 0 if ok else 1


def _run(report: Report, plan: Plan) -> None:
    with datadir.temporary() as folder, Embedded(folder / "node", durable=False) as embedded:
        anvil = started(embedded)
        if report.short and any(map(report.wants, (*ON_ONE_SYSTEM, "stores"))):
            with report.part("system"):
                urls = stores.started(embedded)
                asyncio.run(all_on_one_system(report, plan, anvil, folder, urls))
        elif any(map(report.wants, ON_ONE_SYSTEM)):
            with report.part("system"):
                asyncio.run(on_one_system(report, plan, anvil, folder))
    if not report.short:
        lose_stores(report, plan)
    count_points(report, plan)
    move_across(report, plan)
    if not report.short or report.names("cluster"):
        lose_nodes(report, plan)
    if report.names("simulation") if report.short else report.wants("simulation"):
        simulate(report, plan)
    if report.short:
        report.elsewhere += [
            "contract suites, the vault's too, and the simulation: the integration tests run them",
            "recovery of a shard with many markets, two nodes, memory slopes: the long form",
            "a cluster that loses nodes and its head: the long form",
        ]
    else:
        recover(report, plan)
        check_contracts(report)
        check_vault(report)


if __name__ == "__main__":
    sys.exit(main())
