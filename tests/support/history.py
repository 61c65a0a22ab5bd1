"""Rows of a scenario's blocks, made by `engine.history` as the recorder makes them."""

import copy
import hashlib
import random
from dataclasses import dataclass, field, replace

from engine.history import rows_of
from engine.messages import (
    Administered,
    Block,
    BlockHeader,
    CurveNumbers,
    EventHeader,
    FeedPosition,
    Graduated,
    PoolSwapped,
    PoolSynced,
    TokenCreated,
    Transferred,
)
from engine.positions import ZERO_ADDRESS
from engine.rows import BlockRows, MarketRow, TransferRow
from tests.support.scenario import (
    CONSTANT_PRODUCT,
    LAUNCHPAD,
    LINEAR,
    Scenario,
    address_of,
)


@dataclass
class Historian:
    """`rows(block)` of blocks in order; keeps the curves and states that they need."""

    curves: dict[bytes, CurveNumbers] = field(default_factory=dict)
    markets: dict[bytes, MarketRow] = field(default_factory=dict)

    def rows(self, block: Block) -> BlockRows:
        rows = rows_of(block, self.curves, self.markets, venues=frozenset({LAUNCHPAD}))
        self.curves |= {token.token: token.curve for token in rows.tokens}
        self.markets |= {market.token: market for market in rows.markets}
        created = [event for event in block.events if isinstance(event, TokenCreated)]
        mints = tuple(_mint(event) for event in created)
        return replace(rows, transfers=mints + rows.transfers)


def position_of(block: Block) -> FeedPosition:
    return FeedPosition(block.header.number, block.header.hash)


def _mint(event: TokenCreated) -> TransferRow:
    # The scenario leaves the mint out, and its log index free.
    at = event.at
    mint_at = EventHeader(
        *(getattr(at, name) for name in EventHeader.__slots__[:6]),
        log_index=at.log_index + 1,
        position=at.position + 1,
        emitter=event.token,
        version=at.version,
    )
    supply = event.curve.curve_supply + event.curve.pool_supply
    return TransferRow(mint_at, event.token, ZERO_ADDRESS, LAUNCHPAD, supply)


@dataclass
class Traders:
    """Trades at random of wallets that sell only what they hold, as on a real chain."""

    scenario: Scenario
    names: tuple[str, ...] = ("alice", "bob", "carol")
    held: dict[tuple[bytes, str], int] = field(default_factory=dict)

    def trade(self, count: int) -> None:
        for _ in range(count):
            pick = self.scenario.random
            token, name = pick.choice(sorted(self.scenario.tokens)), pick.choice(self.names)
            held = self.held.get((token, name), 0)
            if held and pick.random() < 0.4:
                sold = held if pick.random() < 0.3 else pick.randrange(held // 2, held) + 1
                self.scenario.sell(token, sold, name)
                self.held[token, name] = held - sold
            else:
                quote = self.scenario.buy(token, pick.randrange(10**9, 10**15), name)
                self.held[token, name] = held + quote.tokens


@dataclass
class Saga(Scenario):
    """A scenario of everything at once, which can be forked as a chain is.

    `play()` gives the next block at random. A fork goes on with the same transactions, in
    other blocks, until it is `reseeded`: so a reorganisation keeps some and drops others.
    """

    lineage: str = "main"
    time: int = 1_700_000_000
    held: dict[tuple[bytes, str], int] = field(default_factory=dict)
    graduated: set[bytes] = field(default_factory=set)
    _made: int = 0
    _last_at: EventHeader | None = None

    def fork(self, salt: str, *, reseeded: bool) -> "Saga":
        """Another future of the same past."""
        other = copy.deepcopy(self)
        other.salt = salt
        if reseeded:
            other.reseed(salt)
        return other

    def reseed(self, lineage: str) -> None:
        """Transactions of its own from here on."""
        self.lineage, self._made = lineage, 0
        self.random = random.Random(lineage)

    def coming_hash(self, ahead: int = 1) -> bytes:
        """The hash of a transaction that may come."""
        return _tx_hash(self.lineage, self._made + ahead)

    def play(self) -> Block:
        for _ in range(self.random.choice((0, 1, 3, 6, 9))):
            self._act()
        block = self.seal()
        self.time, self._last_at = block.header.timestamp, None
        return block

    def _act(self) -> None:
        pick = self.random.random()
        open_ones = sorted(set(self.tokens) - self.graduated)
        if not open_ones or pick < 0.08:
            name = f"{self.lineage} {len(self.tokens)}"
            self.launch(name, self.random.choice((CONSTANT_PRODUCT, LINEAR)))
        elif pick < 0.11:
            self.event_seq += 1
            change = ("LaunchesPausedChanged", (("paused", "0"),))
            self._events.append(Administered(self._next_tx(), self.event_seq, *change))
        elif pick < 0.2:
            self._transfer()
        elif pick < 0.25 and self.graduated:
            self._use_pool(self.random.choice(sorted(self.graduated)))
        else:
            self._trade_some(self.random.choice(open_ones))

    def _trade_some(self, token: bytes) -> None:
        name = self.random.choice(("alice", "bob", "carol", "dave"))
        held = self.held.get((token, name), 0)
        if held > 10**12 and self.random.random() < 0.45:
            sold = held if self.random.random() < 0.4 else self.random.randrange(held // 2, held)
            self.sell(token, sold + (sold < held), name)
            self.held[token, name] = held - sold - (sold < held)
            return
        ends = self.random.random() < 0.04
        value = 10**20 if ends else self.random.randrange(10**12, 10**16)
        self.held[token, name] = held + self.buy(token, value, name).tokens
        one = self.tokens[token]
        if one.sold == one.numbers.curve_supply:
            self._graduate(token)

    def _transfer(self) -> None:
        holders = [key for key, amount in sorted(self.held.items()) if amount]
        if not holders:
            return
        token, name = self.random.choice(holders)
        to = self.random.choice(("alice", "erin", f"new {self._made}"))
        amount = self.random.choice((0, 1, self.held[token, name]))
        at = replace(self._next_tx(), emitter=token)
        self._events.append(Transferred(at, token, address_of(name), address_of(to), amount))
        self.held[token, name] -= amount
        self.held[token, to] = self.held.get((token, to), 0) + amount

    def _graduate(self, token: bytes) -> None:
        one, pair = self.tokens[token], self._pair(token)
        self.event_seq += 1
        one.seq += 1
        supply, eth = one.numbers.pool_supply, one.raised
        moved = (eth, supply - 5, 5, 7, 0, supply - 5, eth)
        at = self._next_tx()
        self._events.append(Graduated(at, self.event_seq, one.seq, token, pair, *moved))
        self.graduated.add(token)

    def _use_pool(self, token: bytes) -> None:
        at, trader = self._next_tx(), address_of("pooler")
        token_now, weth_now = 10**26 + at.log_index, 10**18 + self._made * 10**12
        buys = self.random.random() < 0.5
        at = replace(at, emitter=self._pair(token))
        self._events.append(PoolSynced(at, token, token_now, weth_now))
        if self.random.random() < 0.7:
            after = replace(at, position=at.position + 1, log_index=at.log_index + 1)
            moved = (10**20 + at.log_index, 10**12)
            self._events.append(PoolSwapped(after, token, trader, trader, buys, *moved))

    def _pair(self, token: bytes) -> bytes:
        return hashlib.sha256(b"pair" + token).digest()[:20]

    def _header(self) -> BlockHeader:
        header = super()._header()
        step = 1 + header.hash[0] % 29
        return replace(header, timestamp=self.time + step)

    def _next_tx(self) -> EventHeader:
        at = super()._next_tx()
        last = self._last_at
        if last is not None and self.random.random() < 0.2:
            self._tx -= 1
            at = replace(at, tx_hash=last.tx_hash, tx_index=last.tx_index)
            at = replace(at, position=last.position + 2)
        else:
            self._made += 1
            at = replace(at, tx_hash=_tx_hash(self.lineage, self._made))
        self._last_at = at
        return at


def _tx_hash(lineage: str, count: int) -> bytes:
    return hashlib.sha256(f"{lineage}:{count}".encode()).digest()
