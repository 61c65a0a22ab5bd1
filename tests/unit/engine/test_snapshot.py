"""Snapshots of buckets: what comes back is equal, and takes no more memory than it must."""

import dataclasses

import pytest

from engine import codec, snapshot
from engine.market import Market
from engine.messages import TokenCreated
from engine.timeline import fold
from tests.support.scenario import CONSTANT_PRODUCT, LINEAR, Scenario


def launched(count: int) -> list[Market]:
    scenario = Scenario()
    for number in range(count):
        scenario.launch(f"token {number}", (CONSTANT_PRODUCT, LINEAR)[number % 2])
    events = scenario.seal().events
    return [fold(None, [event])[0] for event in events if isinstance(event, TokenCreated)]


def test_markets_of_one_configuration_share_it_after_recovery() -> None:
    made = launched(6)
    back = snapshot.from_bytes(snapshot.to_bytes(made))
    assert back == made
    assert len({id(market.numbers) for market in back}) == 2
    assert len({id(market.fees) for market in back}) == 1


@pytest.mark.parametrize("change", [{"phase": 5}, {"sold": None}, {"token": 5}, {"fees": "none"}])
def test_field_of_another_type_is_refused(change: dict[str, object]) -> None:
    (market,) = launched(1)
    with pytest.raises((KeyError, TypeError, ValueError)):
        codec.decode(Market, codec.encode(market) | change)


def test_optional_field_comes_back_as_it_was() -> None:
    (market,) = launched(1)
    later = dataclasses.replace(market, launch_tx=None)
    for one in (market, later):
        assert codec.decode(Market, codec.encode(one)) == one
