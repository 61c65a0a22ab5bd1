"""Values of the engine and rows of history as the JSON of the doors.

Amounts are decimal strings in whole units, prices ETH strings of up to 36 decimals with
zeros trimmed, addresses EIP-55, times unix seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from curves.curve import WAD
from engine.messages import (
    FAMILY_LINEAR,
    AsOf,
    MarketView,
    QuoteReply,
    Refusal,
)
from engine.rows import CandleRow, HoldingRecord, TokenRecord, TransactionRecord
from engine.text import address, hex_of, price, units
from engine.ticks import as_of_data
from gateway.usd import EthPrice

EXACT_IN, EXACT_OUT = "exactIn", "exactOut"
_PRICE_SCALE = WAD * WAD

Json = dict[str, Any]


def quote_data(reply: QuoteReply, as_of: AsOf | None = None) -> Json:
    """A quote. `spent` is what leaves the trader in all, `refund` what comes back of amountIn."""
    bound = "maxIn" if reply.exact_out else "minOut"
    return {
        "tokenAddress": address(reply.token),
        "type": "buy" if reply.is_buy else "sell",
        "mode": EXACT_OUT if reply.exact_out else EXACT_IN,
        "amountIn": units(reply.amount_in),
        "amountOut": units(reply.amount_out),
        "fees": {
            "protocol": units(reply.protocol_fee),
            "creator": units(reply.creator_fee),
            "launch": units(reply.launch_fee),
        },
        "spotPrice": price(reply.spot_price_e18),
        "executionPrice": price(reply.execution_price_e18),
        "priceImpactBps": reply.price_impact_bps,
        bound: units(reply.bound),
        "clipped": reply.clipped,
        "spent": units(reply.eth if reply.is_buy else reply.tokens),
        "refund": units(reply.refund),
        "forBlock": reply.for_block,
        "exactUntilBlock": reply.exact_until_block,
        "phase": reply.phase,
        "asOf": as_of_data(as_of or reply.as_of),
    }


def family_name(family: int) -> str:
    """`curve` of a create request and of a token."""
    return "linear" if family == FAMILY_LINEAR else "constant_product"


def market_data(view: MarketView) -> Json:
    """The live part of a token: from memory, never from a row."""
    return {
        "price": price(view.price_e18),
        "marketCap": units(view.market_cap_wei),
        "sold": units(view.sold),
        "raised": units(view.raised),
        "progressBps": view.progress_bps,
        "phase": view.phase,
        "asOf": as_of_data(view.as_of),
    }


def live(view: MarketView | Refusal) -> Json:
    """As `market_data`; where the market cannot answer, nulls and `unavailable` its code.

    A recorded price in their place would be an old price sold as a new one.
    """
    if isinstance(view, MarketView):
        return market_data(view) | {"unavailable": None}
    names = ("price", "marketCap", "sold", "raised", "progressBps", "phase", "asOf")
    return dict.fromkeys(names) | {"unavailable": view.code}


def token_data(
    record: TokenRecord,
    view: MarketView | Refusal,
    document: Mapping[str, Any] | None,
    *,
    usd: EthPrice | None = None,
) -> Json:
    """A token: its launch and statistics from history, its market live.

    `metadata` is the document whose hash is on chain; null while nobody has given it. The
    fields in USD are null without a fresh price of ETH.
    """
    market = live(view) | _in_usd(view, usd)
    return {
        "address": address(record.token),
        "name": record.name,
        "symbol": record.symbol,
        "creator": address(record.creator),
        "pair": address(record.pair),
        "chainId": record.chain_id,
        "version": record.version,
        "curve": family_name(record.curve.family),
        "curveSupply": units(record.curve.curve_supply),
        "poolSupply": units(record.curve.pool_supply),
        "fees": {
            "protocolBps": record.fees.protocol_bps,
            "creatorBps": record.fees.creator_bps,
            "launchBps": record.fees.launch_bps,
            "launchBlocks": record.fees.launch_blocks,
        },
        "metadataHash": hex_of(record.metadata_hash),
        "metadata": None if document is None else dict(document),
        **market,
        "graduated": (market["phase"] or record.phase) == "graduated",
        "volume24h": units(record.volume_24h),
        "trades": record.trades,
        "holders": record.holders,
        "createdAt": record.created_at,
        "createdBlock": record.created_block,
        "updatedAt": record.updated_at,
    }


def _in_usd(view: MarketView | Refusal, usd: EthPrice | None) -> Json:
    if usd is None or not isinstance(view, MarketView):
        return {"priceUsd": None, "marketCapUsd": None}
    return {
        "priceUsd": usd.price(view.price_e18),
        "marketCapUsd": usd.amount(view.market_cap_wei),
    }


def transaction_data(record: TransactionRecord) -> Json:
    """One row of a transaction: a launch, a trade, a transfer, or one that waits."""
    return {
        "txHash": hex_of(record.tx_hash),
        "position": record.position,
        "blockNumber": record.block_number,
        "logIndex": record.log_index,
        "tokenAddress": None if record.token is None else address(record.token),
        "userAddress": address(record.user),
        "type": record.type,
        "ethAmount": _units(record.eth_amount),
        "tokenAmount": _units(record.token_amount),
        "pricePerToken": None if record.price_e18 is None else price(record.price_e18),
        "gasFee": _units(record.gas_fee),
        "status": record.status,
        "reason": record.reason,
        "timestamp": record.time,
    }


def cursor_of(records: Sequence[TransactionRecord], limit: int) -> str | None:
    """Where the next page begins: block, transaction and log index of the last row."""
    if len(records) < limit:
        return None
    last = records[-1]
    return f"{last.block_number}.{last.tx_index}.{last.log_index}"


def candles(rows: Sequence[CandleRow], before: int | None, *, span: range) -> list[Json]:
    """Candles at every step of `span`; one without trades carries the close before it.

    Steps before the first known price are left out: there was no token yet.
    """
    by_time = {row.time: row for row in rows}
    close, made = None if before is None else price(before), []
    for time in span:
        row = by_time.get(time)
        if row is not None:
            made.append(_candle(row))
            close = made[-1]["close"]
        elif close is not None:
            made.append(_FLAT | {"time": time, **dict.fromkeys(_PRICES, close)})
    return made


def _candle(row: CandleRow) -> Json:
    # Most candles are of one trade or two: each price is written once.
    values = (row.open, row.high, row.low, row.close)
    shown = {value: price(value) for value in {*values}}
    return {
        "time": row.time,
        **{name: shown[value] for name, value in zip(_PRICES, values, strict=True)},
        "volumeEth": units(row.volume_eth),
        "volumeToken": units(row.volume_token),
        "trades": row.trades,
    }


_PRICES = ("open", "high", "low", "close")
_FLAT: Json = {"time": 0, **dict.fromkeys(_PRICES, ""), "volumeEth": "0", "volumeToken": "0"} | {
    "trades": 0
}


def holding_data(record: HoldingRecord, view: MarketView | Refusal) -> Json:
    """A wallet's position; `value` is balance times the live spot price, floored to wei."""
    market = live(view)
    value = None
    if isinstance(view, MarketView):
        value = units(record.balance * view.price_e18 // _PRICE_SCALE)
    return {
        "tokenAddress": address(record.token),
        "name": record.name,
        "symbol": record.symbol,
        "balance": units(record.balance),
        "price": market["price"],
        "value": value,
        "boughtTokens": units(record.bought_tokens),
        "soldTokens": units(record.sold_tokens),
        "spentEth": units(record.spent_wei),
        "receivedEth": units(record.received_wei),
        "phase": market["phase"],
        "asOf": market["asOf"],
        "unavailable": market["unavailable"],
    }


def _units(amount: int | None) -> str | None:
    return None if amount is None else units(amount)
