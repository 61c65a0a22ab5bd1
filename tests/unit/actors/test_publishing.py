"""The order of what a subscriber is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from actors.publishing import Publisher
from engine.messages import Tick, Traded
from tests.unit.engine.test_group import batch
from tests.unit.engine.test_group_overlay import ETH, _header, open_view, world


class Kept:
    """Ticks as they were published."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []

    async def publish_all(self, parcels: Sequence[tuple[int, int, Sequence[Tick]]]) -> list[bool]:
        self.ticks += [tick for _, _, ticks in parcels for tick in ticks]
        return [True for _ in parcels]


async def test_trade_that_is_sealed_otherwise_is_retracted_before_it_is_told_again() -> None:
    scenario, token, target = world()
    other = scenario.fork_at(_header(target, scenario), salt="other")
    scenario.buy(token, ETH // 10)
    shown = open_view(scenario.seal())
    (event,) = [one for one in shown.events if isinstance(one, Traded)]
    target.apply(batch(target.position, shown))
    other.buy(token, ETH // 7)
    block = other.seal()
    sealed = tuple(
        replace(one, at=replace(one.at, tx_hash=event.at.tx_hash))
        if isinstance(one, Traded)
        else one
        for one in block.events
    )
    changes, _ = target.apply(batch(target.position, replace(block, events=sealed)))
    port = Kept()
    publisher = Publisher(port, structlog.get_logger(), lambda bucket, incarnation: None)
    for bucket, incarnation in target.incarnations.items():
        publisher.open(bucket, incarnation)
    publisher.publish(target, changes)
    task = asyncio.create_task(publisher.run())
    await publisher.flush()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [tick.event for tick in port.ticks] == ["price", "retracted", "transaction"]
    hashes = {str(tick.data["txHash"]) for tick in port.ticks[1:]}
    assert hashes == {"0x" + event.at.tx_hash.hex()}
