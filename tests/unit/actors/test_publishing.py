"""The order of what a subscriber is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from actors.publishing import Publisher
from engine.messages import Counted, ListedRow, Sampled, Tick, Traded
from tests.unit.engine.test_group import batch
from tests.unit.engine.test_group_overlay import ETH, _header, open_view, world


class Kept:
    """Ticks as they were published."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.counted: list[list[Counted]] = []

    async def publish_all(self, parcels: Sequence[tuple[int, int, Sequence[Tick]]]) -> list[bool]:
        self.ticks += [tick for _, _, ticks in parcels for tick in ticks]
        return [True for _ in parcels]

    async def publish_counted(self, messages: Sequence[Counted]) -> None:
        self.counted.append(list(messages))

    async def sample(self, rows: Sequence[ListedRow], *, left_out: int = 0) -> Sampled:
        return Sampled((), 0, 0.0)


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


async def test_trades_that_wait_are_told_to_all_and_to_their_wallets_in_one_round_trip() -> None:
    scenario, token, target = world()
    for eth in (ETH // 10, ETH // 20, ETH // 30):
        scenario.buy(token, eth)
    changes, _ = target.apply(batch(target.position, scenario.seal()))
    port = Kept()
    publisher = Publisher(port, structlog.get_logger(), lambda bucket, incarnation: None)
    for bucket, incarnation in target.incarnations.items():
        publisher.open(bucket, incarnation)
    publisher.publish(target, changes)
    task = asyncio.create_task(publisher.run())
    await publisher.flush()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    trades = [tick for tick in port.ticks if tick.event == "transaction"]
    (told,) = port.counted
    assert len(trades) == 3 and [one.topic for one in told[::2]] == ["trades"] * 3
    assert [one.data for one in told[::2]] == [tick.data for tick in trades]
    wallets = [f"user:{tick.data['userAddress']}".lower() for tick in trades]
    assert [one.topic.lower() for one in told[1::2]] == wallets
    assert all(one.event == "user" and one.data["event"] == "transaction" for one in told[1::2])
