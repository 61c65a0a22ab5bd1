"""A launchpad in memory that emits the events a real one would, block by block.

It computes with `curves` itself, so it is for tests of everything above the curves; that
the curves equal the contract is what the differential tests show.
"""

import hashlib
import random
from dataclasses import dataclass, field, replace

from curves import trade
from curves.curve import CurveError, Quote
from engine.market import curve_of, schedule_of
from engine.messages import (
    FAMILY_CONSTANT_PRODUCT,
    FAMILY_LINEAR,
    Block,
    BlockHeader,
    ChainEvent,
    Completed,
    CurveNumbers,
    EventHeader,
    FeeNumbers,
    TokenCreated,
    Traded,
    Transferred,
)

WAD = 10**18
CHAIN_ID = 11155931
LAUNCHPAD = bytes.fromhex("11" * 20)
CONSTANT_PRODUCT = CurveNumbers(
    FAMILY_CONSTANT_PRODUCT,
    15 * WAD // 10,
    1_073_000_000 * WAD,
    793_100_000 * WAD,
    206_900_000 * WAD,
)
LINEAR = CurveNumbers(
    FAMILY_LINEAR, 1_400_000_000, 30_000_000, 650_000_000 * WAD, 350_000_000 * WAD
)
FEES = FeeNumbers(100, 50, 2_000, 30, 0, 0)


def address_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:20]


@dataclass
class Token:
    address: bytes
    numbers: CurveNumbers
    launch_block: int
    sold: int = 0
    raised: int = 0
    seq: int = 1


@dataclass
class Scenario:
    """`seal()` gives the block with everything that was done since the last one."""

    seed: int = 1
    number: int = 0
    event_seq: int = 2
    salt: str = ""
    remember: bool = False
    """Keep the state after each block, for `fork_at`."""
    tokens: dict[bytes, Token] = field(default_factory=dict)
    _events: list[ChainEvent] = field(default_factory=list)
    _parent: bytes = bytes(32)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._tx = 0
        self._log = 0
        self._past: dict[int, tuple[dict[bytes, Token], int]] = {}
        self._keep()

    def fork_at(self, header: BlockHeader, *, salt: str) -> "Scenario":
        """The same world after `header`, where other blocks follow."""
        tokens, event_seq = self._past[header.number]
        made = Scenario(
            seed=self.random.randrange(2**32),
            number=header.number,
            event_seq=event_seq,
            salt=salt,
            remember=True,
            tokens={address: replace(one) for address, one in tokens.items()},
        )
        made._parent = header.hash
        made._past |= {n: state for n, state in self._past.items() if n <= header.number}
        return made

    def _keep(self) -> None:
        if self.remember:
            tokens = {address: replace(one) for address, one in self.tokens.items()}
            self._past[self.number] = tokens, self.event_seq

    def launch(self, name: str, numbers: CurveNumbers = CONSTANT_PRODUCT) -> bytes:
        token = address_of(f"token {name}")
        at = self._next_tx()
        self.event_seq += 1
        self.tokens[token] = Token(token, numbers, at.block_number)
        self._events.append(
            TokenCreated(
                at=at,
                event_seq=self.event_seq,
                seq=1,
                token=token,
                creator=address_of("creator"),
                pair=address_of(f"pair {name}"),
                pair_preexisted=False,
                curve_id=numbers.family,
                curve=numbers,
                fees=FEES,
                metadata_hash=hashlib.sha256(name.encode()).digest(),
                name=name,
                symbol=name[:8].upper(),
            )
        )
        return token

    def buy(self, token: bytes, value: int, trader: str = "alice") -> Quote:
        one = self.tokens[token]
        rates = schedule_of(FEES, one.launch_block).at(self.number + 1)
        quote = trade.buy_exact_in(
            curve_of(one.numbers), one.sold, one.raised, rates=rates, value=value
        )
        self._trade(one, quote, trader)
        return quote

    def sell(self, token: bytes, tokens: int, trader: str = "alice") -> Quote:
        one = self.tokens[token]
        rates = schedule_of(FEES, one.launch_block).at(self.number + 1)
        quote = trade.sell_exact_in(
            curve_of(one.numbers), one.sold, one.raised, rates=rates, tokens=tokens
        )
        self._trade(one, quote, trader)
        return quote

    def trade_at_random(self, count: int) -> int:
        """Some buys and sells on open markets; returns how many happened."""
        happened = 0
        for _ in range(count):
            token = self.random.choice(sorted(self.tokens))
            one = self.tokens[token]
            if one.sold >= one.numbers.curve_supply * 9 // 10:
                continue
            try:
                if one.sold and self.random.random() < 0.4:
                    self.sell(token, self.random.randrange(1, one.sold), "bob")
                else:
                    self.buy(token, self.random.randrange(10**9, 10**16), "alice")
            except CurveError:
                continue
            happened += 1
        return happened

    def seal(self, received_ns: int = 0) -> Block:
        header = self._header()
        events = tuple(self._events)
        self._events.clear()
        self.number, self._parent = header.number, header.hash
        self._tx = self._log = 0
        self._keep()
        return Block(header, events, received_ns)

    def _header(self) -> BlockHeader:
        number = self.number + 1
        digest = hashlib.sha256(self._parent + str(number).encode() + self.salt.encode()).digest()
        return BlockHeader(CHAIN_ID, number, digest, self._parent, 1_700_000_000 + number)

    def _next_tx(self) -> EventHeader:
        header = self._header()
        self._tx += 1
        tx_hash = hashlib.sha256(header.hash + self._tx.to_bytes(4, "big")).digest()
        at = EventHeader(
            chain_id=CHAIN_ID,
            block_number=header.number,
            block_hash=header.hash,
            block_time=header.timestamp,
            tx_hash=tx_hash,
            tx_index=self._tx - 1,
            log_index=self._log,
            position=0,
            emitter=LAUNCHPAD,
            version=1,
        )
        self._log += 2
        return at

    def _trade(self, one: Token, quote: Quote, trader: str) -> None:
        at = self._next_tx()
        self.event_seq += 1
        one.seq += 1
        one.sold, one.raised = quote.sold, quote.raised
        who = address_of(trader)
        self._events.append(
            Traded(
                at=at,
                event_seq=self.event_seq,
                seq=one.seq,
                token=one.address,
                trader=who,
                recipient=who,
                is_buy=quote.is_buy,
                exact_out=quote.exact_out,
                venue=0,
                tag=bytes(32),
                requested=quote.requested,
                tokens=quote.tokens,
                curve_eth=quote.curve_eth,
                protocol_fee=quote.protocol_fee,
                creator_fee=quote.creator_fee,
                launch_fee=quote.launch_fee,
                refund=quote.refund,
                sold=quote.sold,
                raised=quote.raised,
                clipped=quote.clipped,
            )
        )
        mover = (LAUNCHPAD, who) if quote.is_buy else (who, LAUNCHPAD)
        transfer_at = EventHeader(
            *(getattr(at, name) for name in at.__slots__[:6]),
            log_index=at.log_index + 1,
            position=at.position + 1,
            emitter=one.address,
            version=1,
        )
        self._events.append(Transferred(transfer_at, one.address, *mover, quote.tokens))
        if quote.sold == one.numbers.curve_supply:
            self.event_seq += 1
            one.seq += 1
            done = self._next_tx()
            self._events.append(
                Completed(done, self.event_seq, one.seq, one.address, one.sold, one.raised)
            )
