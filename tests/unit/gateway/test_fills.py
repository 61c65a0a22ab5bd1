"""Fills are read from logs of our launchpads, and of nobody else's."""

from dataclasses import replace

from chain.decode import TOPICS
from gateway import fills
from tests.support.fakes import FakeLog, trade_log

PAD, TOKEN, TRADER = bytes([1]) * 20, bytes([2]) * 20, bytes([3]) * 20


def log(tokens: int = 4 * 10**18, eth: int = 10**16) -> FakeLog:
    return trade_log(launchpad=PAD, token=TOKEN, trader=TRADER, tokens=tokens, eth=eth)


def test_topics_are_those_that_the_decoder_follows() -> None:
    assert {"0x" + fills.TRADE.hex(), "0x" + fills.TOKEN_CREATED.hex()} <= set(TOPICS)


def test_fill_is_the_last_trade() -> None:
    fill = fills.fill_of([log(), log(tokens=7)], {PAD})
    assert fill is not None
    assert (fill.token, fill.trader, fill.is_buy, fill.tokens) == (TOKEN, TRADER, True, 7)
    assert fills.fill_data(replace(fill, tokens=4 * 10**18))["pricePerToken"] == "0.0025"


def test_fill_counts_fees_to_the_price_of_the_side() -> None:
    words = [9, 2, 0, 0, 0, 0, 5, 10, 1_000, 30, 20, 10, 0, 0, 0, 1]
    data = b"".join(word.to_bytes(32, "big") for word in words)
    sold = fills.fill_of([replace(log(), data=data)], {PAD})
    assert sold is not None and (sold.eth, sold.is_buy, sold.clipped) == (940, False, True)
    words[2] = 1
    data = b"".join(word.to_bytes(32, "big") for word in words)
    bought = fills.fill_of([replace(log(), data=data)], {PAD})
    assert bought is not None and bought.eth == 1_060


def test_log_of_another_contract_or_shape_is_no_fill() -> None:
    good = log()
    others = [
        replace(good, address=TOKEN),
        replace(good, topics=()),
        replace(good, topics=good.topics[:3]),
        replace(good, topics=(bytes(32), *good.topics[1:])),
        replace(good, data=good.data[:-32]),
        replace(good, data=b""),
    ]
    assert fills.fill_of(others, {PAD}) is None
    assert fills.created_token(others, {PAD}) is None


def test_created_token_is_read_from_its_log() -> None:
    topics = (fills.TOKEN_CREATED, TOKEN.rjust(32, b"\0"), TRADER.rjust(32, b"\0"))
    assert fills.created_token([FakeLog(PAD, topics, b"")], {PAD}) == TOKEN


def test_tokens_are_those_that_events_of_our_launchpads_name_first() -> None:
    other = replace(log(), topics=(b"x" * 32, bytes(12) + bytes([7]) * 20))
    strange = replace(log(), address=bytes([9]) * 20)
    bare = replace(log(), topics=(b"x" * 32,))
    assert fills.named_tokens([log(), other, strange, bare], {PAD}) == {TOKEN, bytes([7]) * 20}
