"""The model stands on its own, and agrees with the twins."""

import ast
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import tests.model
from curves import trade
from curves.constant_product import ConstantProduct
from curves.curve import CurveError
from curves.fees import FeeSchedule
from curves.linear import Linear
from tests.model import maths
from tests.model.launchpad import Launchpad
from tests.model.maths import Config, Fees, Refused

E18 = 10**18
CURVES = (
    (
        Config(0, 15 * E18 // 10, 1_073_000_000 * E18, 793_100_000 * E18, 206_900_000 * E18),
        ConstantProduct,
    ),
    (Config(1, 1_400_000_000, 30_000_000, 650_000_000 * E18, 350_000_000 * E18), Linear),
)
TWINS = {
    "buy": lambda c, s, r, rates, n: trade.buy_exact_in(c, s, r, rates=rates, value=n),
    "buy_exactly": lambda c, s, r, rates, n: trade.buy_exact_out(c, s, r, rates=rates, tokens=n),
    "sell": lambda c, s, r, rates, n: trade.sell_exact_in(c, s, r, rates=rates, tokens=n),
    "sell_for": lambda c, s, r, rates, n: trade.sell_exact_out(c, s, r, rates=rates, eth=n),
}
FEES = Fees(100, 50, 2_000, 30, 30, 20)


def test_model_uses_nothing_of_the_project():
    folder = Path(tests.model.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in {"curves", "engine", "chain", "actors", "storage"}


@settings(max_examples=400)
@given(
    st.integers(0, 1),
    st.lists(
        st.tuples(st.sampled_from(("buy", "buy_exactly", "sell", "sell_for")), st.floats(0, 1)),
        max_size=12,
    ),
)
def test_model_trades_as_the_twin(family: int, deeds: list[tuple[str, float]]) -> None:
    config, kind = CURVES[family]
    model, curve = Launchpad(), kind(*config[1:])
    schedule = FeeSchedule(*FEES[:4], 1)
    model.create("t", "c", config, FEES)
    market = model.markets["t"]
    for name, share in deeds:
        model.block += 3
        sold, raised, rates = market.sold, market.raised, schedule.at(model.block)
        tokens = int(share * (1 + sold if name == "sell" else config.curve_supply // 3))
        wei = int(share**3 * 4 * E18)
        amount = tokens if name in ("buy_exactly", "sell") else wei
        if market.phase != "curve":
            break
        model.taken()
        try:
            expected = TWINS[name](curve, sold, raised, rates, amount)
        except CurveError:
            expected = None
        try:
            if name == "buy_exactly":
                model.buy_exactly("t", "a", amount, 2**111)
            else:
                getattr(model, name)("t", "a", amount)
        except Refused:
            assert expected is None
            continue
        assert expected is not None
        (fields,) = [fields for _, log, fields in model.taken() if log == "Trade"]
        assert (market.sold, market.raised) == (expected.sold, expected.raised)
        for field in ("tokens", "curve_eth", "protocol_fee", "creator_fee", "launch_fee"):
            assert fields[field] == getattr(expected, field), field
        assert fields["clipped"] == expected.clipped


def test_model_pool_opens_at_the_last_price_and_its_product_never_falls() -> None:
    for config, _ in CURVES:
        model = Launchpad()
        model.create("t", "c", config, FEES, value=10**16)
        model.buy("t", "a", 20 * E18)
        market = model.markets["t"]
        above, below = maths.price(config, market.sold, market.raised)
        model.graduate("t")
        assert market.reserve_weth * below >= above * market.reserve_token
        product = market.reserve_token * market.reserve_weth
        for step in range(1, 40):
            model.buy("t", "a", step * 10**15)
            model.sell("t", "a", step * 10**20)
            model.swap_in("t", "s", step * 10**14)
            model.swap_out("t", "s", model.balances["t", "s"] // 2)
            model.buy_exactly("t", "a", step * 10**19, E18)
            model.sell_for("t", "a", step * 10**12)
            now = market.reserve_token * market.reserve_weth
            assert now > product
            product = now
        held = sum(amount for (token, _), amount in model.balances.items() if token == "t")
        assert held == 10**27 and model.balances["t", market.pair] == market.reserve_token
