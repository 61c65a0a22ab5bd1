"""Candles of one minute from trades; sealed events only.

The price of a candle is the spot price after each trade, which follows from the event's
own reserves, so that a candle can be rebuilt from logs alone. A candle opens at the close
before it, so that there are no gaps between candles.
"""

from engine.rows import CandleRow

MINUTE_S = 60


def minute_of(time_s: int) -> int:
    """The first second of the minute, UTC."""
    return time_s - time_s % MINUTE_S


def opened(token: bytes, time_s: int, price: int) -> CandleRow:
    """A candle without trades that opens at `price`."""
    return CandleRow(token, minute_of(time_s), price, price, price, price, 0, 0, 0)


def traded(candle: CandleRow, *, price: int, eth: int, tokens: int) -> CandleRow:
    """The candle after one more trade that left the spot at `price`."""
    # In the order of the fields, for names cost as much again and every trade comes here.
    return CandleRow(
        candle.token,
        candle.time,
        candle.open,
        max(candle.high, price),
        min(candle.low, price),
        price,
        candle.volume_eth + eth,
        candle.volume_token + tokens,
        candle.trades + 1,
    )
