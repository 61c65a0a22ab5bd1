"""The launchpad, its pools and tokens as one object that does what it is told.

Every deed either raises `Refused` and changes nothing, or appends its logs in the order in
which the contracts emit them. A log is (emitter, name, fields); amounts are integers.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

from tests.model import maths
from tests.model.maths import Config, Fees, Rates, Refused

PAD = "launchpad"
ZERO = "zero"
DEAD = "dead"
AMOUNT_MAX = 2**112 - 1

Log = tuple[str, str, dict[str, Any]]


@dataclass
class Market:
    token: str
    creator: str
    config: Config
    fees: Fees
    launched: int
    phase: str = "curve"
    sold: int = 0
    raised: int = 0
    seq: int = 1
    reserve_token: int = 0
    reserve_weth: int = 0
    given_weth: int = 0
    """WETH that lies in the pair beside its reserves."""

    @property
    def pair(self) -> str:
        return f"pair of {self.token}"


@dataclass
class Launchpad:
    """`block` is the number of the block that the next deed is in."""

    block: int = 1
    event_seq: int = 0
    markets: dict[str, Market] = field(default_factory=dict)
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    logs: list[Log] = field(default_factory=list)

    def taken(self) -> list[Log]:
        """The logs since the last time: those of one transaction."""
        made, self.logs = self.logs, []
        return made

    def state(self) -> dict[str, tuple[Any, ...]]:
        """token → phase, sold, raised, seq and the pair's reserves, as a lens would say."""
        none = (0, 0)
        return {
            name: (m.phase, m.sold, m.raised, m.seq)
            + ((m.reserve_token, m.reserve_weth) if m.phase == "graduated" else none)
            for name, m in self.markets.items()
        }

    def copy(self) -> "Launchpad":
        return copy.deepcopy(self)

    # --------------------------------------------------------------------------- deeds

    def create(self, token: str, creator: str, config: Config, fees: Fees, value: int = 0) -> None:
        market = Market(token, creator, config, fees, self.block)
        self.markets[token] = market
        fields = {"creator": creator, "pair": market.pair, "config": config, "fees": fees}
        self._emit(market, "TokenCreated", fields, counted=False)
        self._move(market, ZERO, PAD, 10**27)
        if value:
            rates = Rates(fees.protocol, fees.creator, 0)
            self._settle_buy(market, creator, *self._bought_in(market, rates, value))

    def buy(self, token: str, who: str, value: int) -> None:
        market = self._open(token, buying=True)
        if market.phase == "graduated":
            self._pool_buy(market, who, value)
            return
        self._settle_buy(market, who, *self._bought_in(market, self._rates(market), value))

    def buy_exactly(self, token: str, who: str, wanted: int, value: int) -> None:
        market = self._open(token, buying=True)
        if market.phase == "graduated":
            self._pool_buy_exactly(market, who, wanted, value)
            return
        rates, left = self._rates(market), market.config.curve_supply - market.sold
        tokens = min(wanted, left)
        eth = maths.eth_for_tokens(market.config, market.sold, market.raised, tokens)
        spent = maths.gross_of(rates, eth)
        if not tokens or not eth or spent > value or value > AMOUNT_MAX:
            raise Refused("zero, or too dear")
        trade = self._trade(rates, spent, eth, tokens=tokens, requested=wanted)
        trade |= {"refund": value - spent, "clipped": wanted > left, "exact_out": True}
        self._settle_buy(market, who, tokens, eth, trade)

    def sell(self, token: str, who: str, tokens: int) -> None:
        market = self._open(token, buying=False)
        self._check_held(market, who, tokens)
        if market.phase == "graduated":
            self._pool_sell(market, who, tokens)
            return
        rates = self._rates(market)
        if not 0 < tokens <= market.sold:
            raise Refused("more than sold")
        eth = maths.proceeds(market.config, market.sold, market.raised, tokens)
        net = maths.net_of(rates, eth)
        if not net:
            raise Refused("zero")
        trade = self._trade(rates, eth, net, tokens=tokens, requested=tokens, eth=eth)
        self._settle_sell(market, who, tokens, eth, trade)

    def sell_for(self, token: str, who: str, net: int) -> None:
        market = self._open(token, buying=False)
        if market.phase == "graduated":
            self._pool_sell_for(market, who, net)
            return
        rates = self._rates(market)
        eth = maths.gross_of(rates, net)
        tokens = maths.tokens_for_proceeds(market.config, market.sold, market.raised, eth)
        if not net or not tokens:
            raise Refused("zero")
        self._check_held(market, who, tokens)
        trade = self._trade(rates, eth, net, tokens=tokens, requested=net, eth=eth)
        self._settle_sell(market, who, tokens, eth, trade | {"exact_out": True})

    def graduate(self, token: str) -> None:
        market = self.markets[token]
        whole = market.sold == market.config.curve_supply
        if not whole or market.phase not in ("graduating", "reopened"):
            raise Refused("not to be graduated")
        tokens = maths.pool_tokens(market.config, market.sold, market.raised)
        burned, donated = market.config.pool_supply - tokens, market.reserve_weth
        market.phase, market.given_weth = "graduated", 0
        self._move(market, PAD, market.pair, tokens)
        market.reserve_token, market.reserve_weth = tokens, donated + market.raised
        self._sync(market)
        self._move(market, PAD, DEAD, burned)
        fields = {"pair": market.pair, "eth": market.raised, "tokens": tokens, "burned": burned}
        fields |= {"donated": donated, "reserves": (market.reserve_token, market.reserve_weth)}
        self._emit(market, "Graduated", fields)

    def reopen(self, token: str) -> None:
        market = self.markets[token]
        if market.phase != "graduating":
            raise Refused("not graduating")
        market.phase = "reopened"
        self._emit(market, "Reopened", {})

    def transfer(self, token: str, sender: str, recipient: str, amount: int) -> None:
        market = self.markets[token]
        self._check_held(market, sender, amount)
        if recipient == market.pair and market.phase != "graduated":
            raise Refused("the pool is not open")
        self._move(market, sender, recipient, amount)

    def give_weth(self, token: str, amount: int) -> None:
        """Somebody leaves WETH in the pair: no log of ours."""
        self.markets[token].given_weth += amount

    def sync(self, token: str) -> None:
        market = self.markets[token]
        market.reserve_weth, market.given_weth = market.reserve_weth + market.given_weth, 0
        self._sync(market)

    def swap_in(self, token: str, who: str, weth: int) -> None:
        """A stranger buys on the pair by a router."""
        market = self._graduated(token)
        tokens = maths.pool_out(weth, market.reserve_weth, market.reserve_token)
        if not tokens:
            raise Refused("zero")
        # Whatever lies there comes in with the swap.
        weth, market.given_weth = weth + market.given_weth, 0
        self._move(market, market.pair, who, tokens)
        self._reserves(market, -tokens, weth)
        self._swap(market, "router", who, is_buy=True, tokens=tokens, eth=weth)

    def swap_out(self, token: str, who: str, tokens: int) -> None:
        """A stranger sells on the pair by a router."""
        market = self._graduated(token)
        self._check_held(market, who, tokens)
        weth = maths.pool_out(tokens, market.reserve_token, market.reserve_weth)
        if not weth or market.given_weth:
            raise Refused("zero, or somebody's gift is in the way")
        self._move(market, who, market.pair, tokens)
        self._reserves(market, tokens, -weth)
        self._swap(market, "router", who, is_buy=False, tokens=tokens, eth=weth)

    # ------------------------------------------------------------------------ on pools

    def _pool_buy(self, market: Market, who: str, value: int) -> None:
        rates = _pool_rates(market.fees)
        net = maths.net_of(rates, value)
        tokens = maths.pool_out(net, market.reserve_weth, market.reserve_token)
        if not tokens:
            raise Refused("zero")
        trade = self._trade(rates, value, net, tokens=tokens, requested=value, eth=net)
        self._settle_pool_buy(market, who, tokens, net, trade)

    def _pool_buy_exactly(self, market: Market, who: str, tokens: int, value: int) -> None:
        rates = _pool_rates(market.fees)
        if not 0 < tokens < market.reserve_token:
            raise Refused("more than there is")
        eth = maths.pool_in(tokens, market.reserve_weth, market.reserve_token)
        spent = maths.gross_of(rates, eth)
        if spent > value:
            raise Refused("too dear")
        trade = self._trade(rates, spent, eth, tokens=tokens, requested=tokens)
        self._settle_pool_buy(
            market, who, tokens, eth, trade | {"refund": value - spent, "exact_out": True}
        )

    def _pool_sell(self, market: Market, who: str, tokens: int) -> None:
        rates = _pool_rates(market.fees)
        gross = maths.pool_out(tokens, market.reserve_token, market.reserve_weth)
        net = maths.net_of(rates, gross)
        if not net:
            raise Refused("zero")
        trade = self._trade(rates, gross, net, tokens=tokens, requested=tokens, eth=gross)
        self._settle_pool_sell(market, who, tokens, gross, trade)

    def _pool_sell_for(self, market: Market, who: str, net: int) -> None:
        rates = _pool_rates(market.fees)
        gross = maths.gross_of(rates, net)
        if not 0 < gross < market.reserve_weth:
            raise Refused("more than there is")
        tokens = maths.pool_in(gross, market.reserve_token, market.reserve_weth)
        self._check_held(market, who, tokens)
        trade = self._trade(rates, gross, net, tokens=tokens, requested=net, eth=gross)
        self._settle_pool_sell(market, who, tokens, gross, trade | {"exact_out": True})

    def _settle_pool_buy(
        self, market: Market, who: str, tokens: int, eth: int, trade: dict[str, Any]
    ) -> None:
        self._move(market, market.pair, who, tokens)
        gift, market.given_weth = market.given_weth, 0
        self._reserves(market, -tokens, eth + gift)
        self._swap(market, PAD, who, is_buy=True, tokens=tokens, eth=eth + gift)
        self._emit_trade(market, who, trade | {"is_buy": True, "venue": 1, "curve_eth": eth})

    def _settle_pool_sell(
        self, market: Market, who: str, tokens: int, gross: int, trade: dict[str, Any]
    ) -> None:
        self._move(market, who, market.pair, tokens)
        gift, market.given_weth = market.given_weth, 0
        self._reserves(market, tokens, gift - gross)
        self._swap(market, PAD, PAD, is_buy=False, tokens=tokens, eth=gross - gift)
        self._emit_trade(market, who, trade | {"is_buy": False, "venue": 1, "curve_eth": gross})

    # ------------------------------------------------------------------------- private

    def _open(self, token: str, *, buying: bool) -> Market:
        market = self.markets[token]
        if market.phase == "graduating" or (market.phase == "reopened" and buying):
            raise Refused("not open")
        return market

    def _graduated(self, token: str) -> Market:
        market = self.markets[token]
        if market.phase != "graduated":
            raise Refused("no pool")
        return market

    def _rates(self, market: Market) -> Rates:
        return maths.rates_at(market.fees, market.launched, self.block)

    def _check_held(self, market: Market, who: str, amount: int) -> None:
        if self.balances.get((market.token, who), 0) < amount:
            raise Refused("more than held")

    def _bought_in(
        self, market: Market, rates: Rates, value: int
    ) -> tuple[int, int, dict[str, Any]]:
        config, sold, raised = market.config, market.sold, market.raised
        left = config.curve_supply - sold
        full, spent = maths.eth_for_tokens(config, sold, raised, left), value
        net = maths.net_of(rates, value)
        clipped = net >= full
        if clipped:
            tokens, eth, spent = left, full, maths.gross_of(rates, full)
        else:
            tokens, eth = maths.tokens_for_eth(config, sold, raised, net), net
        if not value or not tokens:
            raise Refused("zero")
        trade = self._trade(rates, spent, eth, tokens=tokens, requested=value)
        return tokens, eth, trade | {"refund": value - spent, "clipped": clipped}

    def _trade(
        self, rates: Rates, gross: int, net: int, *, tokens: int, requested: int, eth: int = 0
    ) -> dict[str, Any]:
        protocol, creator, launch = maths.split(rates, gross, net)
        made = {"protocol_fee": protocol, "creator_fee": creator, "launch_fee": launch}
        made |= {"tokens": tokens, "requested": requested, "curve_eth": eth or net}
        return made | {"refund": 0, "clipped": False, "exact_out": False, "venue": 0}

    def _settle_buy(
        self, market: Market, who: str, tokens: int, eth: int, trade: dict[str, Any]
    ) -> None:
        market.sold, market.raised = market.sold + tokens, market.raised + eth
        self._emit_trade(market, who, trade | {"is_buy": True})
        if market.sold == market.config.curve_supply:
            market.phase = "graduating"
            self._emit(market, "Completed", {"sold": market.sold, "raised": market.raised})
        self._move(market, PAD, who, tokens)

    def _settle_sell(
        self, market: Market, who: str, tokens: int, eth: int, trade: dict[str, Any]
    ) -> None:
        market.sold, market.raised = market.sold - tokens, market.raised - eth
        self._emit_trade(market, who, trade | {"is_buy": False})
        self._move(market, who, PAD, tokens)

    def _emit_trade(self, market: Market, who: str, trade: dict[str, Any]) -> None:
        on_pool = market.phase == "graduated"
        after = (market.reserve_token, market.reserve_weth)
        sold, raised = after if on_pool else (market.sold, market.raised)
        self._emit(market, "Trade", {"trader": who, "sold": sold, "raised": raised, **trade})

    def _emit(
        self, market: Market, name: str, fields: dict[str, Any], *, counted: bool = True
    ) -> None:
        market.seq += counted
        self.event_seq += 1
        numbers = {"token": market.token, "event_seq": self.event_seq, "seq": market.seq}
        self.logs.append((PAD, name, numbers | fields))

    def _move(self, market: Market, sender: str, recipient: str, amount: int) -> None:
        if sender != ZERO:
            self.balances[market.token, sender] -= amount
        key = (market.token, recipient)
        self.balances[key] = self.balances.get(key, 0) + amount
        fields = {"token": market.token, "sender": sender, "recipient": recipient}
        self.logs.append((market.token, "Transfer", fields | {"amount": amount}))

    def _reserves(self, market: Market, tokens: int, weth: int) -> None:
        market.reserve_token, market.reserve_weth = (
            market.reserve_token + tokens,
            market.reserve_weth + weth,
        )
        self._sync(market)

    def _swap(
        self, market: Market, sender: str, who: str, *, is_buy: bool, tokens: int, eth: int
    ) -> None:
        fields = {"token": market.token, "sender": sender, "trader": who, "is_buy": is_buy}
        self.logs.append((market.pair, "Swap", fields | {"tokens": tokens, "eth": eth}))

    def _sync(self, market: Market) -> None:
        reserves = (market.reserve_token, market.reserve_weth)
        self.logs.append((market.pair, "Sync", {"token": market.token, "reserves": reserves}))


def _pool_rates(fees: Fees) -> Rates:
    return Rates(fees.pool_protocol, fees.pool_creator, 0)
