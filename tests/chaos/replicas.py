"""Whether it was the read replica that was put to the test, where that was asked for."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.report import Row
from tests.chaos.world import World

COUNTER, AGES = "risecurve_replica_quotes", "risecurve_replica_age_seconds"
LEASE_S = "0.2"


async def row(world: World) -> Row:
    """What the API's replica answered and passed on."""
    url = f"{world.system.api}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return judge(await response.text())


def judge(metrics: str) -> Row:
    """A failure if the replica answered nothing, or anything that was older than its lease."""
    found = Row("the replica answers, within its lease", "replica")
    outcomes: dict[str, int] = {}
    ages: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == f"{COUNTER}_total":
                outcomes[sample.labels["outcome"]] = int(sample.value)
            elif sample.name == f"{AGES}_bucket":
                ages[sample.labels["le"]] = sample.value
    found.trials, found.figure = outcomes.get("served", 0), dict(outcomes)
    if not found.trials:
        found.fail(f"nothing was answered by the replica: {outcomes}")
    if ages.get(LEASE_S) != ages.get("+Inf"):
        found.fail(f"answers were older than the lease: {ages}")
    return found
