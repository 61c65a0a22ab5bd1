"""What a sealed block writes into history, as rows; pure, so that a replay writes the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from curves.curve import WAD
from engine import candle
from engine.buckets import bucket_of
from engine.market import PHASE_CURVE, PHASE_GRADUATING, market_cap_wei, price_e18
from engine.messages import (
    Block,
    ChainEvent,
    Completed,
    CurveNumbers,
    TokenCreated,
    Traded,
    Transferred,
)
from engine.rows import (
    BlockRows,
    CandleRow,
    MarketRow,
    OutboxRow,
    TokenRow,
    TransactionRow,
    TransferRow,
)

ZERO_ADDRESS = bytes(20)


@dataclass(slots=True)
class _Page:
    curves: dict[bytes, CurveNumbers]
    closes: dict[bytes, int]
    users: dict[bytes, None] = field(default_factory=dict)
    tokens: list[TokenRow] = field(default_factory=list)
    markets: dict[bytes, MarketRow] = field(default_factory=dict)
    transactions: list[TransactionRow] = field(default_factory=list)
    transfers: list[TransferRow] = field(default_factory=list)
    candles: dict[bytes, CandleRow] = field(default_factory=dict)
    outbox: list[OutboxRow] = field(default_factory=list)


def tokens_needed(block: Block) -> frozenset[bytes]:
    """Tokens whose curve and last close `rows_of` wants: traded here, not created here."""
    traded = {event.token for event in block.events if isinstance(event, Traded)}
    created = {event.token for event in block.events if isinstance(event, TokenCreated)}
    return frozenset(traded - created)


def rows_of(
    block: Block,
    curves: Mapping[bytes, CurveNumbers],
    closes: Mapping[bytes, int],
    *,
    venues: frozenset[bytes],
) -> BlockRows:
    """All rows of `block`. `venues` are the contracts (launchpads, pairs are learnt) whose
    transfers are part of a trade and no `TRANSFER` of a user. Raises KeyError for a token
    that is in neither `curves` nor the block.
    """
    page = _Page(dict(curves), dict(closes))
    pairs = {event.pair for event in block.events if isinstance(event, TokenCreated)}
    for event in block.events:
        _write(page, event, venues | pairs)
    return BlockRows(
        header=block.header,
        events=tuple(e for e in block.events if not isinstance(e, Transferred)),
        users=tuple(page.users),
        tokens=tuple(page.tokens),
        markets=tuple(page.markets.values()),
        transactions=tuple(page.transactions),
        transfers=tuple(page.transfers),
        candles=tuple(page.candles.values()),
        outbox=tuple(page.outbox),
    )


def _write(page: _Page, event: ChainEvent, venues: frozenset[bytes]) -> None:
    if isinstance(event, TokenCreated):
        _write_created(page, event)
    elif isinstance(event, Traded):
        _write_traded(page, event)
    elif isinstance(event, Completed):
        _write_completed(page, event)
    elif isinstance(event, Transferred):
        _write_transferred(page, event, venues)


def _write_created(page: _Page, event: TokenCreated) -> None:
    price = price_e18(event.curve, 0, 0)
    page.curves[event.token], page.closes[event.token] = event.curve, price
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
    page.markets[event.token] = _market(
        event.token, PHASE_CURVE, numbers=event.curve, state=(0, 0, event.seq)
    )
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
    numbers = page.curves[event.token]
    price = price_e18(numbers, event.sold, event.raised)
    page.users[event.trader] = page.users[event.recipient] = None
    phase = PHASE_GRADUATING if event.sold == numbers.curve_supply else PHASE_CURVE
    page.markets[event.token] = _market(
        event.token,
        phase,
        numbers=numbers,
        state=(event.sold, event.raised, event.seq),
    )
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
            protocol_fee=event.protocol_fee + event.launch_fee,
            creator_fee=event.creator_fee,
            venue=event.venue,
            tag=event.tag,
        )
    )
    opened = page.candles.get(event.token) or candle.opened(
        event.token, event.at.block_time, page.closes[event.token]
    )
    page.candles[event.token] = candle.traded(
        opened, price=price, eth=event.curve_eth, tokens=event.tokens
    )
    page.closes[event.token] = price
    page.outbox.append(_outbox("traded", event))


def _write_completed(page: _Page, event: Completed) -> None:
    before = page.markets.get(event.token)
    numbers = page.curves.get(event.token)
    if numbers is not None and before is not None:
        state = (event.sold, event.raised, event.seq)
        page.markets[event.token] = _market(
            event.token, PHASE_GRADUATING, numbers=numbers, state=state
        )
    page.outbox.append(_outbox("completed", event))


def _write_transferred(page: _Page, event: Transferred, venues: frozenset[bytes]) -> None:
    page.transfers.append(
        TransferRow(event.at, event.token, event.sender, event.recipient, event.amount)
    )
    if not venues.isdisjoint((event.sender, event.recipient)) or ZERO_ADDRESS in (
        event.sender,
        event.recipient,
    ):
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


def _market(
    token: bytes, phase: str, *, numbers: CurveNumbers, state: tuple[int, int, int]
) -> MarketRow:
    sold, raised, seq = state
    price = price_e18(numbers, sold, raised)
    return MarketRow(token, phase, sold, raised, seq, price, market_cap_wei(price))


def _outbox(topic: str, event: TokenCreated | Traded | Completed) -> OutboxRow:
    at = event.at
    return OutboxRow(
        key=f"{at.chain_id}:{at.tx_hash.hex()}:{at.position}:{topic}",
        topic=topic,
        token=event.token,
        payload={"tx": at.tx_hash.hex(), "position": at.position, "block": at.block_number},
    )
