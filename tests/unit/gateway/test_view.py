"""What the doors show: exact decimal strings, EIP-55, and no old price as a new one."""

from dataclasses import replace

from engine import text
from engine.messages import QuoteReply, QuoteRequest, Refusal
from engine.rows import CandleRow, HoldingRecord
from gateway import view
from tests.support.fakes import FakeMarkets, token_record, transaction_record
from tests.support.scenario import Scenario


async def market() -> tuple[bytes, FakeMarkets]:
    scenario, markets = Scenario(), FakeMarkets()
    token = scenario.launch("tide")
    markets.take(scenario)
    return token, markets


async def reply_of(**fields: object) -> QuoteReply:
    token, markets = await market()
    request = replace(QuoteRequest(token, True, False, 10**16), **fields)  # type: ignore[arg-type]
    reply = await markets.quote(request)
    assert isinstance(reply, QuoteReply)
    return reply


async def test_quote_of_a_clipped_buy_says_spent_and_refund() -> None:
    reply = await reply_of(amount=100 * 10**18)
    data = view.quote_data(reply)
    assert (data["clipped"], data["amountIn"], data["amountOut"]) == (True, "100", "793100000")
    assert data["spent"] == text.units(reply.eth)
    assert data["refund"] == text.units(100 * 10**18 - reply.eth)


async def test_quote_names_min_out_or_max_in() -> None:
    data = view.quote_data(await reply_of())
    assert "minOut" in data and "maxIn" not in data and data["mode"] == "exactIn"
    data = view.quote_data(await reply_of(exact_out=True, amount=10**18))
    assert "maxIn" in data and "minOut" not in data and data["mode"] == "exactOut"


async def test_quote_prices_keep_36_decimals_and_trim_zeros() -> None:
    reply = replace(await reply_of(), spot_price_e18=1, execution_price_e18=25 * 10**35)
    data = view.quote_data(reply)
    assert data["spotPrice"] == "0." + "0" * 35 + "1"
    assert data["executionPrice"] == "2.5"


async def test_token_shows_its_market_or_why_not() -> None:
    token, markets = await market()
    (live,) = await markets.views([token])
    record = token_record(token, price_e18=7 * 10**36)
    shown = view.token_data(record, live, {"name": "x"})
    assert shown["unavailable"] is None and shown["price"] != "7"
    assert shown["address"] == text.address(token) and shown["metadata"] == {"name": "x"}
    hidden = view.token_data(record, Refusal("market_halted", "…"), None)
    assert (hidden["price"], hidden["marketCap"], hidden["unavailable"]) == (
        None,
        None,
        "market_halted",
    )
    assert shown.keys() == hidden.keys()


def test_transaction_row_has_strings_and_nulls() -> None:
    row = replace(transaction_record(bytes(20)), eth_amount=None, gas_fee=1, token=None)
    shown = view.transaction_data(row)
    assert (shown["ethAmount"], shown["tokenAddress"]) == (None, None)
    assert shown["gasFee"] == "0.000000000000000001"


def test_cursor_is_of_the_last_row_of_a_full_page() -> None:
    rows = [transaction_record(bytes(20), number) for number in (9, 8)]
    assert view.cursor_of(rows, 2) == "8.0.2"
    assert view.cursor_of(rows, 3) is None
    assert view.cursor_of([], 3) is None


def test_candles_carry_the_close_and_begin_with_the_token() -> None:
    row = CandleRow(b"", 120, 10**36, 4 * 10**36, 10**36, 2 * 10**36, 10**18, 10**18, 3)
    made = view.candles([row], None, span=range(0, 300, 60))
    assert [one["time"] for one in made] == [120, 180, 240]
    assert (made[0]["high"], made[0]["volumeEth"], made[0]["trades"]) == ("4", "1", 3)
    assert (made[1]["open"], made[1]["close"], made[1]["trades"]) == ("2", "2", 0)
    carried = view.candles([row], 10**36, span=range(0, 300, 60))
    assert [one["close"] for one in carried] == ["1", "1", "2", "2", "2"]


async def test_holding_value_is_floored_at_the_live_price() -> None:
    token, markets = await market()
    (live,) = await markets.views([token])
    assert not isinstance(live, Refusal)
    record = HoldingRecord(token, "Tide", "TIDE", 10**18 + 1, 0, 0, 0, 0, 0, 0)
    shown = view.holding_data(record, live)
    assert shown["value"] == text.units((10**18 + 1) * live.price_e18 // 10**36)
    assert view.holding_data(record, Refusal("stale_chain", "…"))["value"] is None
