"""Quotes, trades and submissions over the real application."""

import asyncio

from eth_account import Account

from chain import transactions
from engine import text
from engine.errors import CallerError
from engine.messages import QuoteRequest, Refusal
from engine.rows import HoldingRecord
from tests.support.chain_settings import LAUNCHPAD
from tests.support.fakes import FakeReceipt, trade_log, transaction_record
from tests.support.gateway import Door, open_door, signed_transaction

QUOTE_FIELDS = {
    "tokenAddress",
    "type",
    "mode",
    "amountIn",
    "amountOut",
    "fees",
    "spotPrice",
    "executionPrice",
    "priceImpactBps",
    "clipped",
    "spent",
    "refund",
    "forBlock",
    "exactUntilBlock",
    "phase",
    "asOf",
}


def body_of(door: Door, **fields: object) -> dict[str, object]:
    values = {"tokenAddress": text.address(door.tokens[0]), "type": "buy", "amount": "0.01"}
    return values | fields


E18 = 10**18


async def test_quote_of_a_buy_has_every_field_and_the_curves_amounts(door: Door) -> None:
    status, answer = await door.post("/api/trading/quote", body_of(door))
    assert (status, answer["success"]) == (200, True)
    data = answer["data"]
    assert data.keys() == QUOTE_FIELDS | {"minOut"}
    expected = await door.markets.quote(QuoteRequest(door.tokens[0], True, False, 10**16))
    assert not isinstance(expected, Refusal)
    assert data["amountOut"] == text.units(expected.amount_out)
    assert data["fees"]["launch"] == text.units(expected.launch_fee)
    assert data["minOut"] == text.units(expected.amount_out * 9_900 // 10_000)
    assert data["asOf"].keys() == {"blockNumber", "blockHash", "logIndex", "status", "version"}
    assert (data["spent"], data["refund"], data["clipped"]) == ("0.01", "0", False)


async def test_quote_modes_and_sides_name_their_bound(door: Door) -> None:
    for side in ("buy", "sell"):
        for mode, bound in (("exactIn", "minOut"), ("exactOut", "maxIn")):
            in_eth = (side == "buy") == (mode == "exactIn")
            body = body_of(door, type=side, mode=mode, amount="0.0001" if in_eth else "1000")
            status, answer = await door.post("/api/trading/quote", body)
            assert (status, answer["data"]["mode"]) == (200, mode)
            assert answer["data"].keys() == QUOTE_FIELDS | {bound}


async def test_quote_touches_no_store_and_no_node(door: Door) -> None:
    for port in (
        door.reads,
        door.documents,
        door.people,
        door.sessions,
        door.nonces,
        door.rates,
        door.node,
    ):
        port.down = True
    status, answer = await door.post("/api/trading/quote", body_of(door))
    assert (status, answer["success"]) == (200, True)


async def test_quote_for_block_and_slippage_are_used(door: Door) -> None:
    for slippage in ("2.5", 2.5):
        body = body_of(door, forBlock=10_000, slippage=slippage, finality="sealed")
        _, answer = await door.post("/api/trading/quote", body)
        data = answer["data"]
        assert (data["forBlock"], data["exactUntilBlock"]) == (10_000, None)
        assert data["fees"]["launch"] == "0"
        out = await door.markets.quote(
            QuoteRequest(door.tokens[0], True, False, 10**16, 250, 10_000)
        )
        assert not isinstance(out, Refusal) and data["minOut"] == text.units(out.bound)


async def test_quote_refusals_become_their_status(door: Door) -> None:
    table = {
        "token_not_found": 404,
        "exceeds_sold": 409,
        "zero_output": 409,
        "market_graduating": 409,
        "stale_chain": 503,
        "market_halted": 503,
        "market_paused": 503,
        "shard_unavailable": 503,
        "overloaded": 503,
    }
    for code, expected in table.items():
        door.markets.refusal = Refusal(code, "Expected otherwise")
        async with door.session.post(
            f"{door.url}/api/trading/quote", json=body_of(door)
        ) as response:
            answer = await response.json()
            assert (response.status, answer["error"]["code"]) == (expected, code)
            assert ("Retry-After" in response.headers) == (expected == 503)


async def test_quote_that_never_comes_is_shard_unavailable() -> None:
    async with open_door(quote_timeout_s=0.0) as door:
        door.markets.delay_s = 60
        status, answer = await door.post("/api/trading/quote", body_of(door))
    assert (status, answer["error"]["code"]) == (503, "shard_unavailable")


async def test_buy_gives_the_transaction_that_its_quote_describes(door: Door) -> None:
    headers = await door.login()
    token = text.address(door.tokens[0])
    body = {"tokenAddress": token, "ethAmount": "0.02", "slippage": 5}
    status, answer = await door.post("/api/trading/buy", body, headers=headers)
    assert status == 200, answer
    quote, made = answer["data"]["quote"], answer["data"]["transaction"]
    assert made["from"] == door.account.address
    assert made["to"] == text.address(LAUNCHPAD)
    assert int(made["value"], 16) == 2 * 10**16
    assert int(made["chainId"], 16) == 11155931
    assert int(made["gas"], 16) <= 16_000_000
    assert "nonce" not in made
    data = bytes.fromhex(made["data"][2:])
    assert data[:4] == transactions.SELECTOR_OF["buy"]
    assert text.units(int.from_bytes(data[36:68], "big")) == quote["minOut"]
    assert data[80:100].hex() == door.account.address[2:].lower()


async def test_sell_and_exact_out_choose_their_call(door: Door) -> None:
    headers, token = await door.login(), text.address(door.tokens[0])
    cases = [
        ("buy", {"tokenAmount": "1000"}, "buyExactOut", True),
        ("sell", {"tokenAmount": "1000"}, "sell", False),
        ("sell", {"ethAmount": "0.001"}, "sellExactOut", False),
    ]
    for side, amount, action, pays in cases:
        body = {"tokenAddress": token, **amount}
        status, answer = await door.post(f"/api/trading/{side}", body, headers=headers)
        assert status == 200, answer
        made = answer["data"]["transaction"]
        assert bytes.fromhex(made["data"][2:])[:4] == transactions.SELECTOR_OF[action]
        assert (int(made["value"], 16) > 0) == pays


async def test_trades_want_a_login_and_exactly_one_amount(door: Door) -> None:
    token = text.address(door.tokens[0])
    for side in ("buy", "sell"):
        body = {"tokenAddress": token, "ethAmount": "1"}
        status, answer = await door.post(f"/api/trading/{side}", body)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
    headers = await door.login()
    both = {"tokenAddress": token, "ethAmount": "1", "tokenAmount": "1"}
    for body in (both, {"tokenAddress": token}):
        status, answer = await door.post("/api/trading/buy", body, headers=headers)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_sell_of_more_than_was_sold_is_exceeds_sold(door: Door) -> None:
    headers = await door.login()
    body = {"tokenAddress": text.address(door.tokens[0]), "tokenAmount": "900000000"}
    status, answer = await door.post("/api/trading/sell", body, headers=headers)
    assert (status, answer["error"]["code"]) == (409, "exceeds_sold")


async def test_trade_without_a_node_is_stale_chain(door: Door) -> None:
    headers = await door.login()
    door.node.down = True
    body = {"tokenAddress": text.address(door.tokens[0]), "ethAmount": "0.1"}
    status, answer = await door.post("/api/trading/buy", body, headers=headers)
    assert (status, answer["error"]["code"]) == (503, "stale_chain")


# ------------------------------------------------------------------------------ submit


def buy_data(door: Door) -> str:
    call = transactions.buy(
        token=door.tokens[0], min_tokens=1, recipient=bytes(19) + b"\1", deadline=2**40
    )
    return "0x" + call.hex()


def raw_buy(door: Door, **fields: object) -> dict[str, str]:
    values = {"data": buy_data(door), "value": 10**16} | fields
    return {"rawTransaction": signed_transaction(door.account, **values)}


async def test_submit_mined_answers_confirmed_with_its_fill(door: Door) -> None:
    trader = bytes.fromhex(door.account.address[2:])
    log = trade_log(
        launchpad=LAUNCHPAD, token=door.tokens[0], trader=trader, tokens=4 * 10**18, eth=10**16
    )
    door.node.logs = (log,)
    status, answer = await door.post("/api/trading/submit", raw_buy(door))
    assert status == 200, answer
    state = answer["data"]
    assert (state["status"], state["type"]) == ("CONFIRMED", "BUY")
    assert state["userAddress"] == door.account.address
    assert state["tokenAddress"] == text.address(door.tokens[0])
    assert state["fill"] == {
        "tokenAddress": text.address(door.tokens[0]),
        "type": "BUY",
        "tokenAmount": "4",
        "ethAmount": "0.01",
        "pricePerToken": "0.0025",
    }
    assert state["gasFee"] == text.units(90_000 * 10**9)
    assert [row.status for row in door.reads.rows] == ["PENDING"]


async def test_submit_not_mined_is_202_then_told_by_tx(door: Door) -> None:
    door.node.mine = False
    status, answer = await door.post("/api/trading/submit", raw_buy(door))
    assert (status, answer["data"]["status"]) == (202, "PENDING")
    tx_hash = answer["data"]["txHash"]
    status, answer = await door.get(f"/api/trading/tx/{tx_hash}")
    assert (status, answer["data"]["status"], answer["data"]["type"]) == (200, "PENDING", "BUY")
    raw_hash = bytes.fromhex(tx_hash[2:])
    door.node.receipts[raw_hash] = FakeReceipt(raw_hash, status=0)
    status, answer = await door.get(f"/api/trading/tx/{tx_hash}")
    data = answer["data"]
    assert (data["status"], data["reason"], data["fill"]) == ("FAILED", "SlippageExceeded", None)


async def test_submit_twice_sends_and_writes_once(door: Door) -> None:
    body = raw_buy(door)
    first, second = (
        await door.post("/api/trading/submit", body),
        await door.post("/api/trading/submit", body),
    )
    assert first[1]["data"] == second[1]["data"]
    assert (len(door.node.sent), len(door.reads.rows)) == (1, 1)


async def test_submit_of_foreign_or_broken_transactions_is_refused(door: Door) -> None:
    good = raw_buy(door)["rawTransaction"]
    unknown = "0x" + b"\xde\xad\xbe\xef".hex()
    cases = [
        (raw_buy(door, chainId=1), "wrong_chain"),
        (raw_buy(door, to="0x" + "33" * 20), "unknown_contract"),
        (raw_buy(door, data=unknown), "invalid_request"),
        (raw_buy(door, data=buy_data(door)[:70]), "invalid_request"),
        (raw_buy(door, gas=16_000_001), "invalid_request"),
        ({"rawTransaction": good[:-4]}, "invalid_request"),
        ({"rawTransaction": "0x"}, "invalid_request"),
        ({"rawTransaction": "nonsense"}, "invalid_request"),
        ({"rawTransaction": good + "zz"}, "invalid_request"),
        ({"rawTransaction": 7}, "invalid_request"),
        ({}, "invalid_request"),
    ]
    for body, code in cases:
        status, answer = await door.post("/api/trading/submit", body)
        assert (status, answer["error"]["code"]) == (400, code), body
    assert (door.node.sent, door.reads.rows) == ([], [])


async def test_submit_that_would_revert_is_refused_before_writing(door: Door) -> None:
    door.node.revert = CallerError("slippage_exceeded", "The price moved past the bound")
    status, answer = await door.post("/api/trading/submit", raw_buy(door))
    assert (status, answer["error"]["code"]) == (409, "slippage_exceeded")
    door.node.revert, door.node.nonces = None, 5
    status, answer = await door.post("/api/trading/submit", raw_buy(door))
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert (door.node.sent, door.reads.rows) == ([], [])


async def test_submit_without_the_store_sends_nothing(door: Door) -> None:
    door.reads.down = True
    status, answer = await door.post("/api/trading/submit", raw_buy(door))
    assert (status, answer["error"]["code"]) == (503, "store_unavailable")
    assert door.node.sent == []


async def test_tx_recorded_comes_from_history(door: Door) -> None:
    row = transaction_record(door.tokens[0])
    door.reads.rows = [row]
    door.node.down = True
    status, answer = await door.get(f"/api/trading/tx/0x{row.tx_hash.hex()}")
    data = answer["data"]
    assert (status, data["status"], data["blockNumber"]) == (200, "CONFIRMED", 1)
    assert (data["fill"]["tokenAmount"], data["fill"]["pricePerToken"]) == ("5", "0.2")


async def test_tx_unknown_is_not_found_and_malformed_is_invalid(door: Door) -> None:
    status, answer = await door.get(f"/api/trading/tx/0x{'0' * 64}")
    assert (status, answer["error"]["code"]) == (404, "not_found")
    for bad in ("0x12", "0x" + "g" * 64, "1" * 66):
        status, answer = await door.get(f"/api/trading/tx/{bad}")
        assert (status, answer["error"]["code"]) == (400, "invalid_request")


async def test_portfolio_values_holdings_at_live_prices(door: Door) -> None:
    owner = Account.create().address
    token = door.tokens[0]
    bought = (10**21, 0, 10**16, 0, 10**21, 10**16)
    door.reads.held = [HoldingRecord(token, "Tide", "TIDE", 10**21, *bought)]
    status, answer = await door.get(f"/api/trading/portfolio/{owner}")
    (item,) = answer["data"]["items"]
    (market,) = await door.markets.views([token])
    assert not isinstance(market, Refusal)
    value = text.units(10**21 * market.price_e18 // 10**36)
    assert (status, item["balance"], item["value"]) == (200, "1000", value)
    assert answer["data"]["totalValue"] == value
    door.markets.refusal = Refusal("stale_chain", "Expected a block")
    _, answer = await door.get(f"/api/trading/portfolio/{owner}")
    (item,) = answer["data"]["items"]
    assert (item["price"], item["value"], item["unavailable"]) == (None, None, "stale_chain")
    assert answer["data"]["totalValue"] is None


async def test_portfolio_profit_is_by_moving_average_cost(door: Door) -> None:
    owner, (one, two) = Account.create().address, door.tokens
    # 1,000 bought for 0.01, 400 sold for 0.006, 100 given away; and one sold out of at a loss.
    sums = (1_000 * E18, 400 * E18, 10**16, 6 * 10**15, 600 * E18, 6 * 10**15)
    door.reads.held = [
        HoldingRecord(one, "a", "A", 500 * E18, *sums),
        HoldingRecord(two, "b", "B", 0, 9 * E18, 9 * E18, 10**15, 4 * 10**14, 0, 0),
    ]
    door.node.held = {one: 500 * E18, two: 0}
    _, answer = await door.get(f"/api/trading/portfolio/{owner}?closed=true")
    data, (first, second) = answer["data"], answer["data"]["items"]
    (market, _) = await door.markets.views([one, two])
    assert not isinstance(market, Refusal)
    assert (first["costBasis"], first["realisedPnl"]) == ("0.005", "0.002")
    worth = 500 * E18 * market.price_e18 // 10**36 - 5 * 10**15
    assert first["unrealisedPnl"] == data["unrealisedPnl"] == text.units(worth)
    assert (second["costBasis"], second["realisedPnl"], second["unrealisedPnl"]) == (
        "0", "-0.0006", "0"
    )  # fmt: skip
    assert data["realisedPnl"] == "0.0014"
    assert data["reconciledAtBlock"] == data["asOfBlock"] == 100
    _, answer = await door.get(f"/api/trading/portfolio/{owner}")
    assert len(answer["data"]["items"]) == 1
    assert answer["data"]["realisedPnl"] == "0.0014", "also of what is not listed"
    door.markets.refusal = Refusal("stale_chain", "Expected a block")
    _, answer = await door.get(f"/api/trading/portfolio/{owner}")
    (item,) = answer["data"]["items"]
    shown = (item["costBasis"], item["realisedPnl"], item["unrealisedPnl"])
    assert shown == ("0.005", "0.002", None)


async def test_portfolio_that_the_chain_does_not_confirm_names_no_block(door: Door) -> None:
    owner, token = Account.create().address, door.tokens[0]
    door.reads.held = [HoldingRecord(token, "a", "A", 5, 5, 0, 1, 0, 5, 1)]
    for held, down in ({token: 4}, False), ({}, False), ({token: 5}, True):
        door.node.held, door.node.down = held, down
        _, answer = await door.get(f"/api/trading/portfolio/{owner}")
        data = answer["data"]
        assert (data["asOfBlock"], data["reconciledAtBlock"]) == (100, None)
        assert data["items"][0]["balance"] == "0.000000000000000005"


async def test_many_quotes_at_once_are_bounded_in_flight() -> None:
    async with open_door(requests_in_flight_max=3) as door:
        door.markets.delay_s = 0.2
        body = body_of(door)
        answers = await asyncio.gather(*(door.post("/api/trading/quote", body) for _ in range(10)))
    codes = sorted(status for status, _ in answers)
    assert codes == [200] * 3 + [503] * 7
    refused = [answer for status, answer in answers if status == 503]
    assert {answer["error"]["code"] for answer in refused} == {"overloaded"}
