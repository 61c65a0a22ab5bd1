"""Rows for the list of tokens: the newest of each market, kept while Redis is away."""

import pytest

from actors import listing
from actors.listing import Lister
from engine.buckets import bucket_of
from engine.group import Group
from tests.support import fake_roles
from tests.support.scenario import Scenario
from tests.unit.engine.test_group import batch

ETH = 10**18


class World:
    def __init__(self) -> None:
        self.scenario = Scenario(seed=5)
        self.token = self.scenario.launch("a")
        buckets = {bucket: 3 for bucket in range(1024)}
        self.group = Group("g", buckets, 8)
        self.ticks, self.log, self.lost = fake_roles.Ticks(), fake_roles.Log(), []
        self.lister = Lister(self.ticks, self.log, lambda *one: self.lost.append(one))

    def seal(self) -> None:
        changes, _ = self.group.apply(batch(self.group.position, self.scenario.seal()))
        self.lister.note(self.group, changes)

    def shown(self) -> list[tuple[bytes, int, bool]]:
        return [(o.token, o.row["eventCount"], bool(o.launch)) for o in self.ticks.listed]


async def test_rows_are_the_newest_and_a_launch_is_kept_over_an_outage() -> None:
    world = World()
    world.seal()
    world.ticks.down = True
    await world.lister.hand_on()
    world.scenario.buy(world.token, ETH // 100)
    world.seal()
    await world.lister.hand_on()
    world.ticks.down = False
    await world.lister.hand_on()
    assert world.shown() == [(world.token, 2, True)]
    assert world.log.events() == ["list_down", "list_back"]
    world.scenario.buy(world.token, ETH // 100)
    world.seal()
    await world.lister.hand_on()
    assert world.shown()[1:] == [(world.token, 3, False)]
    row = world.ticks.listed[-1].row
    assert row["phase"] == "curve" and row["unavailable"] is None and row["asOf"]


async def test_rows_are_bounded_and_what_is_left_out_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "LISTED_WAITING_MAX", 4)
    monkeypatch.setattr(listing, "LISTED_ROWS_MAX", 3)
    world = World()
    for number in range(6):
        world.scenario.launch(f"more {number}")
    world.seal()
    assert await world.lister.hand_on() == 0.0
    await world.lister.hand_on()
    assert (len(world.ticks.listed), world.ticks.left_out) == (4, 3)


async def test_rows_of_a_bucket_that_is_lost_are_not_told() -> None:
    world = World()
    other = world.scenario.launch("b")
    world.seal()
    world.lister.close(bucket_of(other))
    world.ticks.fence[bucket_of(world.token)] = 4
    await world.lister.hand_on()
    assert world.ticks.listed == []
    assert world.lost == [(bucket_of(world.token), 3)]
