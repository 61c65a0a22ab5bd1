"""What a sealed block writes into history, as rows; pure, so that a replay writes the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from curves.curve import WAD
from engine import candle
from engine.buckets import bucket_of
from engine.market import (
    PHASE_CURVE,
    PHASE_GRADUATED,
    PHASE_GRADUATING,
    PHASE_REOPENED,
    market_cap_wei,
    price_e18,
)
from engine.messages import (
    VENUE_POOL,
    Block,
    ChainEvent,
    Completed,
    CurveNumbers,
    Graduated,
    MarketEvent,
    PoolSwapped,
    PoolSynced,
    Reopened,
    TokenCreated,
    Traded,
    Transferred,
)
from engine.positions import ZERO_ADDRESS
from engine.rows import (
    BlockRows,
    CandleRow,
    MarketRow,
    OutboxRow,
    TokenRow,
    TransactionRow,
    TransferRow,
)


@dataclass(slots=True)
class _Page:
    curves: dict[bytes, CurveNumbers]
    states: dict[bytes, MarketRow]
    prices_before: dict[bytes, int] = field(default_factory=dict)
    events: list[ChainEvent] = field(default_factory=list)
    users: dict[bytes, None] = field(default_factory=dict)
    tokens: list[TokenRow] = field(default_factory=list)
    markets: dict[bytes, MarketRow] = field(default_factory=dict)
    transactions: list[TransactionRow] = field(default_factory=list)
    transfers: list[TransferRow] = field(default_factory=list)
    candles: dict[bytes, CandleRow] = field(default_factory=dict)
    outbox: list[OutboxRow] = field(default_factory=list)

    def put(self, row: MarketRow) -> None:
        self.states[row.token] = self.markets[row.token] = row


def tokens_needed(block: Block) -> frozenset[bytes]:
    """Tokens whose curve and last state `rows_of` wants: not created here."""
    seen = {e.token for e in block.events if isinstance(e, MarketEvent)}
    created = {event.token for event in block.events if isinstance(event, TokenCreated)}
    return frozenset(seen - created)


def rows_of(
    block: Block,
    curves: Mapping[bytes, CurveNumbers],
    markets: Mapping[bytes, MarketRow],
    *,
    venues: frozenset[bytes],
) -> BlockRows:
    """All rows of `block`. `markets` is the state before it. `venues` are the contracts
    (launchpads, pairs are learnt) whose transfers are part of a trade and no `TRANSFER` of a
    user. Raises KeyError for a token that is in neither `curves` nor the block.
    """
    page = _Page(dict(curves), dict(markets))
    pairs = {event.pair for event in block.events if isinstance(event, TokenCreated | Graduated)}
    parts = venues | pairs
    for event in block.events:
        if _write(page, event, parts):
            page.events.append(event)
    return BlockRows(
        header=block.header,
        events=tuple(page.events),
        users=tuple(page.users),
        tokens=tuple(page.tokens),
        markets=tuple(page.markets.values()),
        transactions=tuple(page.transactions),
        transfers=tuple(page.transfers),
        candles=tuple(page.candles.values()),
        outbox=tuple(page.outbox),
    )


def _write(page: _Page, event: ChainEvent, venues: frozenset[bytes]) -> bool:
    # Whether the event is kept: transfers have their own table, and what anyone does to a
    # pair before the graduation says nothing.
    if isinstance(event, Transferred):
        _write_transferred(page, event, venues)
        return False
    if isinstance(event, PoolSynced | PoolSwapped):
        if page.states[event.token].phase != PHASE_GRADUATED:
            return False
        if isinstance(event, PoolSynced):
            _write_synced(page, event)
        else:
            _write_swapped(page, event)
        return True
    writer = _WRITERS.get(type(event))
    if writer is not None:
        writer(page, event)
    return True


def _write_created(page: _Page, event: TokenCreated) -> None:
    price = price_e18(event.curve, 0, 0)
    page.curves[event.token] = event.curve
    page.users[event.creator] = None
    page.tokens.append(
        TokenRow(
            at=event.at,
            token=event.token,
            creator=event.creator,
            pair=event.pair,
            launchpad=event.at.emitter,
            version=event.at.version,
            bucket=bucket_of(event.token),
            curve_id=event.curve_id,
            curve=event.curve,
            fees=event.fees,
            metadata_hash=event.metadata_hash,
            name=event.name,
            symbol=event.symbol,
            initial_price_e18=price,
        )
    )
    cap = market_cap_wei(price)
    page.put(MarketRow(event.token, PHASE_CURVE, 0, 0, event.seq, price, cap))
    page.transactions.append(
        TransactionRow(
            at=event.at,
            token=event.token,
            user=event.creator,
            recipient=event.creator,
            type="CREATE",
            eth_amount=None,
            token_amount=None,
            price_e18=None,
            protocol_fee=0,
            creator_fee=0,
            venue=0,
            tag=bytes(32),
        )
    )
    page.outbox.append(_outbox("token_created", event))


def _write_traded(page: _Page, event: Traded) -> None:
    page.users[event.trader] = page.users[event.recipient] = None
    before = page.states[event.token]
    if event.venue == VENUE_POOL:
        opens_at = page.prices_before.get(event.token, before.price_e18)
        page.put(replace(before, seq=event.seq))
    else:
        opens_at = before.price_e18
        numbers = page.curves[event.token]
        phase = PHASE_GRADUATING if event.sold == numbers.curve_supply else before.phase
        price = price_e18(numbers, event.sold, event.raised)
        # In the order of the fields here and below, for names cost as much again as the row.
        state = (before.token, phase, event.sold, event.raised, event.seq)
        reserves = (before.reserve_token, before.reserve_weth)
        page.put(MarketRow(*state, price, market_cap_wei(price), *reserves))
    eth = event.eth
    page.transactions.append(
        TransactionRow(
            event.at,
            event.token,
            event.trader,
            event.recipient,
            "BUY" if event.is_buy else "SELL",
            eth,
            event.tokens,
            eth * WAD * WAD // event.tokens,
            event.protocol_fee + event.launch_fee,
            event.creator_fee,
            event.venue,
            event.tag,
        )
    )
    _write_candle(page, event, opens_at, eth=event.curve_eth)
    page.outbox.append(_outbox("traded", event))


def _write_candle(page: _Page, event: Traded | PoolSwapped, opens_at: int, *, eth: int) -> None:
    opened = page.candles.get(event.token) or candle.opened(
        event.token, event.at.block_time, opens_at
    )
    price = page.states[event.token].price_e18
    page.candles[event.token] = candle.traded(opened, price=price, eth=eth, tokens=event.tokens)


def _write_completed(page: _Page, event: Completed) -> None:
    # The whole state, so that it can be made again without the curve's trades.
    price = price_e18(page.curves[event.token], event.sold, event.raised)
    before = replace(
        page.states[event.token],
        sold=event.sold,
        raised=event.raised,
        price_e18=price,
        market_cap_wei=market_cap_wei(price),
    )
    page.put(replace(before, phase=PHASE_GRADUATING, seq=event.seq))
    page.outbox.append(_outbox("completed", event))


def _write_reopened(page: _Page, event: Reopened) -> None:
    page.put(replace(page.states[event.token], phase=PHASE_REOPENED, seq=event.seq))
    page.outbox.append(_outbox("reopened", event))


def _write_graduated(page: _Page, event: Graduated) -> None:
    before = replace(page.states[event.token], phase=PHASE_GRADUATED, seq=event.seq)
    page.put(_with_reserves(before, event.reserve_token, event.reserve_weth))
    page.outbox.append(_outbox("graduated", event))


def _write_synced(page: _Page, event: PoolSynced) -> None:
    before = page.states[event.token]
    page.prices_before[event.token] = before.price_e18
    page.put(_with_reserves(before, event.reserve_token, event.reserve_weth))


def _write_swapped(page: _Page, event: PoolSwapped) -> None:
    page.users[event.trader] = page.users[event.recipient] = None
    page.transactions.append(
        TransactionRow(
            at=event.at,
            token=event.token,
            user=event.trader,
            recipient=event.recipient,
            type="BUY" if event.is_buy else "SELL",
            eth_amount=event.eth,
            token_amount=event.tokens,
            price_e18=event.eth * WAD * WAD // event.tokens,
            protocol_fee=0,
            creator_fee=0,
            venue=VENUE_POOL,
            tag=bytes(32),
        )
    )
    before = page.prices_before.get(event.token, page.states[event.token].price_e18)
    _write_candle(page, event, before, eth=event.eth)
    page.outbox.append(_outbox("swapped", event))


def _with_reserves(row: MarketRow, token: int, weth: int) -> MarketRow:
    price = weth * WAD * WAD // token
    return replace(
        row,
        price_e18=price,
        market_cap_wei=market_cap_wei(price),
        reserve_token=token,
        reserve_weth=weth,
    )


def _write_transferred(page: _Page, event: Transferred, venues: frozenset[bytes]) -> None:
    page.transfers.append(
        TransferRow(event.at, event.token, event.sender, event.recipient, event.amount)
    )
    sides = (event.sender, event.recipient)
    if not venues.isdisjoint(sides) or ZERO_ADDRESS in sides:
        return
    page.users[event.sender] = None
    page.transactions.append(
        TransactionRow(
            at=event.at,
            token=event.token,
            user=event.sender,
            recipient=event.recipient,
            type="TRANSFER",
            eth_amount=None,
            token_amount=event.amount,
            price_e18=None,
            protocol_fee=0,
            creator_fee=0,
            venue=0,
            tag=bytes(32),
        )
    )


def _outbox(topic: str, event: MarketEvent) -> OutboxRow:
    at = event.at
    tx_hash = at.tx_hash.hex()
    key = f"{at.chain_id}:{tx_hash}:{at.position}:{topic}"
    payload: dict[str, object] = {
        "tx": tx_hash,
        "position": at.position,
        "block": at.block_number,
    }
    return OutboxRow(key, topic, event.token, payload, (at.tx_hash, at.position))


_WRITERS: dict[type, Callable[[_Page, Any], None]] = {
    TokenCreated: _write_created,
    Traded: _write_traded,
    Completed: _write_completed,
    Reopened: _write_reopened,
    Graduated: _write_graduated,
}
