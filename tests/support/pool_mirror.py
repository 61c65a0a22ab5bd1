"""A graduated market followed in Python beside the contract, trade by trade."""

from dataclasses import dataclass
from typing import Any

from curves import pool_trade
from curves.curve import Quote
from curves.fees import FeeRates
from curves.uniswap_v2 import Pool
from tests.support.evm import FOREVER, Contract, Event
from tests.support.mirror import TAG, Mirror
from tests.support.stage import Stage
from tests.support.trade_cases import BUY_EXACT_IN, BUY_EXACT_OUT, SELL_EXACT_IN, numbers

DEAD = bytes.fromhex("000000000000000000000000000000000000dead")
MINIMUM_LIQUIDITY = 1_000
QUOTE_FIELDS = (
    "tokens",
    "eth",
    "curveEth",
    "protocolFee",
    "creatorFee",
    "launchFee",
    "refund",
    "sold",
    "raised",
    "clipped",
)


def pool_quote(pool: Pool, rates: FeeRates, kind: int, amount: int) -> Quote:
    """The twin's quote without a bound. Raises CurveError."""
    if kind == BUY_EXACT_IN:
        return pool_trade.buy_exact_in(pool, rates=rates, value=amount)
    if kind == BUY_EXACT_OUT:
        return pool_trade.buy_exact_out(pool, rates=rates, tokens=amount)
    if kind == SELL_EXACT_IN:
        return pool_trade.sell_exact_in(pool, rates=rates, tokens=amount)
    return pool_trade.sell_exact_out(pool, rates=rates, eth=amount)


def buy_out(mirror: Mirror, *, sender: bytes) -> None:
    """Everything that is left of the curve, in one buy."""
    left = mirror.world.curve.curve_supply - mirror.sold
    mirror.trade(BUY_EXACT_OUT, left, sender=sender)
    assert mirror.completed


@dataclass
class PoolMirror:
    """What the pool must be. `trade` sends one through the launchpad and compares all it did."""

    stage: Stage
    token: bytes
    pair: Contract
    rates: FeeRates
    pool: Pool
    seq: int

    @classmethod
    def graduate(cls, stage: Stage, mirror: Mirror, *, sender: bytes) -> "PoolMirror":
        """Graduate the sold-out market; everything about it is compared."""
        pair = stage.pair(mirror.token)
        token = stage.token(mirror.token)
        donated = _reserves(stage, mirror.token, pair).reserve_weth
        held, paid = stage.chain.balance(stage.pad.address), mirror.raised
        before = token.call("balanceOf", DEAD)
        events = stage.pad.send("graduate", mirror.token, sender=sender)
        (graduated,) = [event.args for event in events if event.name == "Graduated"]
        to_pool = _to_pool(mirror)
        pool = _reserves(stage, mirror.token, pair)
        assert graduated == {
            "token": mirror.token,
            "pair": pair.address,
            "eventSeq": stage.pad.call("eventSeq"),
            "seq": mirror.seq + 1,
            "ethToPool": paid,
            "tokensToPool": to_pool,
            "burned": mirror.world.curve.pool_supply - to_pool,
            "liquidity": pair.call("totalSupply") - MINIMUM_LIQUIDITY,
            "donatedWeth": donated,
            "reserveToken": pool.reserve_token,
            "reserveWeth": pool.reserve_weth,
        }
        assert pool == Pool(to_pool, paid + donated)
        assert pair.call("balanceOf", DEAD) == graduated["liquidity"] > 0
        assert token.call("balanceOf", DEAD) - before == graduated["burned"]
        assert token.call("balanceOf", stage.pad.address) == 0
        assert held - stage.chain.balance(stage.pad.address) == paid
        fees = stage.pad.call("market", mirror.token)["fees"]
        rates = FeeRates(fees["poolProtocolBps"], fees["poolCreatorBps"], 0)
        found = cls(stage, mirror.token, pair, rates, pool, mirror.seq + 1)
        found.check_state()
        return found

    def trade(self, kind: int, amount: int, *, sender: bytes, extra: int = 0) -> Quote:
        """Quote, send, compare. An exact-out buy is paid with `extra` wei beyond its price."""
        pad, chain = self.stage.pad, self.stage.chain
        expected = pool_quote(self.pool, self.rates, kind, amount)
        shown = pad.call("quote", self.token, kind < 2, kind % 2 == 1, amount, 0)
        assert shown == dict(zip(QUOTE_FIELDS, numbers(expected), strict=True))
        function, bounds, value = _call(kind, amount, expected, extra)
        extra = extra if kind == BUY_EXACT_OUT else 0
        recipient = chain.account("recipient")
        before = chain.balance(recipient), self._tokens(recipient), chain.balance(pad.address)
        arguments = (self.token, *bounds, recipient, FOREVER, TAG)
        events = pad.send(function, *arguments, sender=sender, value=value)
        after = chain.balance(recipient), self._tokens(recipient), chain.balance(pad.address)
        gained = (0, expected.tokens) if expected.is_buy else (expected.eth, 0)
        changes = tuple(new - old for new, old in zip(after, before, strict=True))
        assert changes == (*gained, expected.fee)
        self._check(expected, events, sender, recipient, extra)
        return expected

    def _check(self, expected: Quote, events: list[Event], *who: bytes | int) -> None:
        trader, recipient, extra = who
        assert isinstance(extra, int)
        (trade,) = [event.args for event in events if event.name == "Trade"]
        self.seq += 1
        wanted: dict[str, Any] = {
            "token": self.token,
            "trader": trader,
            "recipient": recipient,
            "eventSeq": self.stage.pad.call("eventSeq"),
            "seq": self.seq,
            "isBuy": expected.is_buy,
            "exactOut": expected.exact_out,
            "venue": 1,
            "tag": TAG,
            "requested": expected.requested,
            "tokens": expected.tokens,
            "curveEth": expected.curve_eth,
            "protocolFee": expected.protocol_fee,
            "creatorFee": expected.creator_fee,
            "launchFee": 0,
            "refund": expected.refund + extra,
            "sold": expected.sold,
            "raised": expected.raised,
            "clipped": False,
        }
        assert trade == wanted
        self.pool = Pool(expected.sold, expected.raised)
        self.check_state()

    def check_state(self) -> None:
        state = self.stage.pad.call("market", self.token)
        assert (state["phase"], state["seq"]) == (3, self.seq)
        assert (state["reserveToken"], state["reserveWeth"]) == (
            self.pool.reserve_token,
            self.pool.reserve_weth,
        )
        assert _reserves(self.stage, self.token, self.pair) == self.pool

    def refresh(self) -> None:
        """Take over what others did to the pair."""
        self.pool = _reserves(self.stage, self.token, self.pair)

    def _tokens(self, account: bytes) -> int:
        return int(self.stage.token(self.token).call("balanceOf", account))


def _to_pool(mirror: Mirror) -> int:
    curve = mirror.world.curve
    numerator, denominator = curve.price_fraction(mirror.sold, mirror.raised)
    return min(mirror.raised * denominator // numerator, curve.pool_supply)


def _reserves(stage: Stage, token: bytes, pair: Contract) -> Pool:
    first, second, _ = pair.call("getReserves")
    return Pool(first, second) if token < stage.weth.address else Pool(second, first)


def _call(kind: int, amount: int, expected: Quote, extra: int) -> tuple[str, tuple[int, ...], int]:
    # Function, amount with its tightest bounds, value.
    if kind == BUY_EXACT_IN:
        return "buy", (expected.tokens,), amount
    if kind == BUY_EXACT_OUT:
        return "buyExactOut", (amount, amount), expected.eth + extra
    if kind == SELL_EXACT_IN:
        return "sell", (amount, expected.eth), 0
    return "sellExactOut", (amount, expected.tokens), 0
