"""Everything can be made again from the chain, and what was spoilt shows."""

import asyncio

import pytest

from deploy import registry, settings
from deploy.demo.run import Demo, Plan
from tests.support import running
from tests.support.servers import execute

TRADES = 80
SPOIL = """
UPDATE transfers SET amount = amount + 1
WHERE (tx_hash, position) = (SELECT tx_hash, position FROM transfers LIMIT 1);
DELETE FROM events WHERE (tx_hash, position) = (SELECT tx_hash, position FROM events LIMIT 1);
INSERT INTO price_history SELECT chain_id, version, token_address, time + 6000000, open, high, low,
close, volume_eth, volume_token, trades FROM price_history LIMIT 1;
"""


async def traded(system: running.Running) -> None:
    """The demo's traders on this system, through graduation; a replay in the midst of it."""
    environment = settings.load_settings(system.environment)
    entry = registry.read(registry.path(system.folder, environment.rise_chain_id))
    chain = settings.chain_settings(
        environment, entry, rpc_url=system.run.rise_rpc, ws_url=system.run.rise_ws, local=True
    )
    plan = Plan(trades=TRADES, graduate=True)
    demo = Demo(api_url=system.api, chain=chain, plan=plan, say=lambda line: None)
    try:
        work = asyncio.create_task(demo.run())
        async with asyncio.timeout(90):
            while len(demo.tally.graduated) < 2 and not work.done():
                await asyncio.sleep(0.1)
        _, done = await asyncio.to_thread(system.cli, "replay", "--from-zero", timeout_s=90)
        assert not done["details"], "\n".join(done["details"])
        await work
    finally:
        await demo.close()


@pytest.mark.timeout(300)
def test_replay_from_zero_makes_the_same_memory_and_rows(again: running.Running) -> None:
    asyncio.run(traded(again))
    _, done = again.cli("replay", "--from-zero", timeout_s=90)
    assert not done["details"], "\n".join(done["details"])
    assert done["markets"] >= 8 and done["rows"] > TRADES * 4
    print(f"\n{done['events']} events of the chain make {done['rows']} rows: all as recorded")
    asyncio.run(execute(again.run.database_url, SPOIL))
    code, done = again.cli("replay", "--from-zero", timeout_s=90)
    assert (code, done["different"]) == (1, 3), done
    tables = {line.split(":")[0] for line in done["details"]}
    assert tables == {"transfers", "price_history", "events"}
