from engine.messages import TokenCreated
from storage.launched import Launched
from tests.support.history import Historian, position_of
from tests.support.scenario import CHAIN_ID, Scenario


async def test_launched_knows_recorded_hashes_and_how_far_it_was_recorded(pool, events):
    store, scenario = Launched(pool, CHAIN_ID), Scenario()
    assert await store.time() is None
    assert await store.hashes([bytes(32)]) == set()
    incarnation = await events.claim()
    assert await store.time() is None
    for name in ("tide", "crane"):
        scenario.launch(name)
    block = scenario.seal()
    rows = Historian().rows(block)
    assert await events.write([rows], incarnation=incarnation, position=position_of(block))
    hashes = {one.metadata_hash for one in block.events if isinstance(one, TokenCreated)}
    assert len(hashes) == 2 and await store.time() == block.header.timestamp
    assert await store.hashes([*hashes, bytes(32)]) == hashes
    assert await Launched(pool, CHAIN_ID + 1).hashes([*hashes]) == set()
