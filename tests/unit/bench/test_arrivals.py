"""Which ticks count as the way from the listener's socket, and which trades came."""

import asyncio
import time

from bench.arrivals import Arrivals, TopicReader
from engine.messages import PRECONFIRMED, SEALED


def price(status: str, received_ns: int, token: str = "0x1") -> dict[str, object]:
    return {"asOf": {"status": status}, "receivedNs": str(received_ns), "tokenAddress": token}


def trade(tx_hash: str, position: int = 0, status: str = SEALED) -> dict[str, object]:
    return {"txHash": tx_hash, "position": position, "status": status}


def test_prices_of_the_wanted_status_count() -> None:
    door = Arrivals(PRECONFIRMED)
    door.note("price", price(PRECONFIRMED, 1_000), 5_000)
    door.note("price", price(SEALED, 10), 6_000)
    door.note("snapshot", {}, 7_000)
    assert list(door.delays_ns) == [4_000]


def test_price_that_no_frame_brought_does_not_count() -> None:
    door = Arrivals(SEALED)
    door.note("price", price(SEALED, 0), 5_000)
    assert not door.delays_ns and door.early_ns == 0


def test_price_that_is_told_again_counts_once() -> None:
    door = Arrivals(PRECONFIRMED)
    for now_ns, token in ((2_000, "0x1"), (3_000, "0x2"), (9_000, "0x1")):
        door.note("price", price(PRECONFIRMED, 1_000, token), now_ns)
    assert list(door.delays_ns) == [1_000, 2_000]


def test_trade_whose_first_word_was_the_seal_is_counted_as_unheard() -> None:
    door = Arrivals(PRECONFIRMED)
    door.note("transaction", trade("0xa", status=PRECONFIRMED), 1)
    door.note("transaction", trade("0xa"), 2)
    door.note("transaction", trade("0xb"), 3)
    assert len(door.trades) == 2 and door.unheard == 1
    door.begin()
    assert door.unheard == 0
    door.note("price", price(PRECONFIRMED, 1), 2)
    door.begin()
    door.note("price", price(PRECONFIRMED, 1), 2)
    assert list(door.delays_ns) == [1]


def test_trade_counts_once_when_it_came_first() -> None:
    door = Arrivals(SEALED)
    for now_ns in (1_000_000, 9_000_000):
        door.note("transaction", trade("0xa"), now_ns)
    door.note("transaction", trade("0xa", 1), 3_000_000)
    assert door.trades == {("0xa", 0): 1_000_000, ("0xa", 1): 3_000_000}


def test_last_is_from_the_earliest_frame_to_the_last_trade() -> None:
    door = Arrivals(SEALED)
    for received_ns in (3_000_000, 2_000_000, 4_000_000):
        door.note("price", price(SEALED, received_ns), 5_000_000)
    door.note("transaction", trade("0xa"), 8_000_000)
    door.note("transaction", trade("0xb"), 7_000_000)
    assert door.last_ms() == 6.0
    door.begin()
    assert not door.trades and not door.delays_ns and door.early_ns == 0


async def test_socketio_message_goes_to_the_arrivals() -> None:
    door = Arrivals(SEALED)
    reader = TopicReader("token:0x", door)
    reader._take_text(
        b'42["transaction",{"seq":1,"data":{"txHash":"0xa","position":2,"status":"sealed"}}]', 0
    )
    assert list(door.trades) == [("0xa", 2)]


async def test_what_comes_is_only_stamped_until_it_is_settled() -> None:
    door = Arrivals(SEALED)
    reader = TopicReader("token:0x", door)
    reader._is_open = True
    door.readers.append(reader)
    door.begin()
    body = b'42["transaction",{"seq":1,"data":{"txHash":"0xa","position":2,"status":"sealed"}}]'
    before_ns = time.time_ns()
    reader.data_received(bytes([0x81, len(body)]) + body)
    after_ns = time.time_ns()
    assert door.stamped == 1 and not door.trades
    await asyncio.sleep(0.02)
    door.settle()
    assert door.stamped == 0 and list(door.trades) == [("0xa", 2)]
    assert before_ns - 1e6 < door.trades["0xa", 2] < after_ns + 1e6
    door.begin()
    assert not door.trades
