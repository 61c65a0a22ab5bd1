"""Every answer of every route has exactly the shape of its reply model."""

from typing import Any

from pydantic import BaseModel

from engine import text
from engine.messages import Refusal
from engine.rows import CandleRow, HoldingRecord
from gateway import replies
from gateway.replies import Reply
from gateway.topics import topic_of
from tests.support.chain_settings import LAUNCHPAD
from tests.support.fakes import trade_log, transaction_record
from tests.support.gateway import Door, signed_transaction, siwe_message


def check(model: type[BaseModel], answer: tuple[int, Any]) -> Any:
    status, body = answer
    assert status in (200, 202), body
    Reply[model].model_validate(body)  # type: ignore[valid-type]
    return body["data"]


async def test_replies_of_login_have_their_shape(door: Door) -> None:
    nonce = check(replies.NonceData, await door.post("/api/auth/nonce"))["nonce"]
    message = siwe_message(door.account, nonce)
    check(replies.ConnectData, await door.connect(door.account, message))
    headers = await door.login()
    check(replies.VerifyData, await door.post("/api/auth/verify", headers=headers))


async def test_replies_of_tokens_have_their_shape(door: Door) -> None:
    token, path = door.tokens[0], f"/api/tokens/0x{door.tokens[0].hex()}"
    door.reads.rows = [transaction_record(token, number) for number in (3, 2, 1)]
    door.reads.close_before = 10**36
    door.reads.candle_rows = [CandleRow(token, 0, 1, 1, 1, 1, 1, 1, 1)]
    check(replies.TokenData, await door.get(path))
    check(replies.Page[replies.TokenData], await door.get("/api/tokens"))
    check(replies.ChartData, await door.get(f"{path}/chart"))
    history = replies.History[replies.TransactionData]
    check(history, await door.get(f"{path}/transactions?limit=2"))
    door.markets.refusal = Refusal("stale_chain", "Expected a block")
    check(replies.Page[replies.TokenData], await door.get("/api/tokens"))


async def test_replies_of_writes_have_their_shape(door: Door) -> None:
    headers, token = await door.login(), text.address(door.tokens[0])
    launch = {"name": "Goose", "symbol": "GO", "initialBuyEth": "0.1"}
    check(replies.CreateData, await door.post("/api/tokens/create", launch, headers=headers))
    for side, amount in (("buy", "ethAmount"), ("buy", "tokenAmount"), ("sell", "tokenAmount")):
        body = {"tokenAddress": token, amount: "0.1"}
        answer = await door.post(f"/api/trading/{side}", body, headers=headers)
        check(replies.TradeData, answer)
        made = answer[1]["data"]["transaction"]
        raw = signed_transaction(door.account, data=made["data"], value=int(made["value"], 16))
        door.node.logs = (
            trade_log(
                launchpad=LAUNCHPAD, token=door.tokens[0], trader=b"\1" * 20, tokens=3, eth=7
            ),
        )
        state = check(
            replies.StateData, await door.post("/api/trading/submit", {"rawTransaction": raw})
        )
        check(replies.StateData, await door.get(f"/api/trading/tx/{state['txHash']}"))


async def test_replies_of_quotes_and_portfolio_have_their_shape(door: Door) -> None:
    token = text.address(door.tokens[1])
    for mode in ("exactIn", "exactOut"):
        body = {"tokenAddress": token, "type": "buy", "amount": "0.1", "mode": mode}
        check(replies.QuoteData, await door.post("/api/trading/quote", body))
    door.reads.held = [HoldingRecord(door.tokens[1], "n", "s", 5, 5, 0, 1, 0, 5, 1)]
    path = f"/api/trading/portfolio/{door.account.address}"
    check(replies.PortfolioData, await door.get(path))
    door.markets.refusal = Refusal("stale_chain", "Expected a block")
    check(replies.PortfolioData, await door.get(path))


async def test_replies_of_errors_have_their_shape(door: Door) -> None:
    for answer in (
        await door.get("/api/nothing"),
        await door.get("/api/tokens/0x1"),
        await door.post("/api/trading/buy"),
        await door.post("/api/trading/quote", {"amount": 1}),
    ):
        replies.ErrorReply.model_validate(answer[1])


async def test_topics_have_one_spelling(door: Door) -> None:
    token = door.tokens[0]
    spellings = (text.address(token), f"0x{token.hex()}", "0x" + token.hex().upper())
    assert {topic_of(f"token:{one}") for one in spellings} == {text.topic_of_token(token)}
