"""Messages survive the way through JSON, exactly."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import codec, text
from engine.market import Market
from engine.messages import AsOf, Completed, TokenCreated, Traded
from tests.support.scenario import LINEAR, Scenario


def test_events_and_markets_come_back_equal():
    scenario = Scenario()
    token = scenario.launch("a", LINEAR)
    scenario.buy(token, 10**20)
    for event in scenario.seal().events:
        if isinstance(event, TokenCreated | Traded | Completed):
            back = codec.decode(type(event), json.loads(json.dumps(codec.encode(event))))
            assert back == event


@given(
    number=st.integers(0, 2**256 - 1),
    block_hash=st.none() | st.binary(min_size=32, max_size=32),
    version=st.tuples(st.integers(0), st.integers(0)),
)
def test_optionals_tuples_and_large_numbers_come_back_equal(number, block_hash, version):
    as_of = AsOf(number, block_hash, -1, "sealed", version)
    assert codec.decode(AsOf, json.loads(json.dumps(codec.encode(as_of)))) == as_of


@pytest.mark.parametrize("broken", [{}, {"token": 5}, [], None])
def test_decode_of_something_else_raises(broken):
    with pytest.raises((KeyError, TypeError, ValueError)):
        codec.decode(Market, broken)


def test_encode_of_a_float_is_refused():
    with pytest.raises(TypeError):
        codec.encode(0.5)


@given(st.integers(-(2**128), 2**128), st.integers(1, 40))
def test_units_are_exact(amount, decimals):
    from decimal import Decimal, localcontext

    with localcontext(prec=120):
        assert Decimal(text.units(amount, decimals)).scaleb(decimals) == amount
        assert text.base_units(text.units(amount, decimals), decimals) == amount
    assert not text.units(amount, decimals).endswith(".")


def test_address_has_the_checksum_of_eip_55():
    for address in (
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert text.address(bytes.fromhex(address[2:])) == address
