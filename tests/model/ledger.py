"""What everybody must know of a chain in the end: trades, balances, candles, states.

Read from logs alone, in order, by the plainest means.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tests.model import maths
from tests.model.costs import Cost, costs
from tests.model.launchpad import PAD, ZERO

E18 = 10**18
E36 = 10**36


@dataclass
class Ledger:
    """`take` the logs of each block; a candle is [open, high, low, close, eth, tokens, trades]."""

    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    candles: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    _traded_here: set[str] = field(default_factory=set)

    def take(self, logs: list[tuple[str, str, dict[str, Any]]], *, time: int) -> None:
        """`time` in unix seconds."""
        self._traded_here = set()
        for _, name, fields in logs:
            self._take(name, fields, time)

    @property
    def hash(self) -> str:
        """Of everything, independent of the order in which it was learnt."""
        parts = [
            sorted([*key, amount] for key, amount in self.balances.items() if amount),
            self.trades,
            sorted([*key, *candle] for key, candle in self.candles.items()),
            sorted([token, *sorted(state.items())] for token, state in self.states.items()),
        ]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()

    def costs(self) -> dict[tuple[str, str], Cost]:
        """Of each (token, trader)."""
        return costs(
            ((one["token"], one["user"]), one["type"], one["eth"], one["tokens"])
            for one in self.trades
        )

    def _take(self, name: str, fields: dict[str, Any], time: int) -> None:
        token = fields["token"]
        state = self.states.get(token, {})
        if name == "TokenCreated":
            start = {"phase": "curve", "sold": 0, "raised": 0, "config": fields["config"]}
            self.states[token] = start | {"reserves": (0, 0), "price": 0, "before": 0}
            self.states[token]["price"] = self._price(self.states[token])
        elif name == "Transfer":
            self._move(token, fields["sender"], -fields["amount"])
            self._move(token, fields["recipient"], fields["amount"])
        elif name == "Trade" and fields["venue"] == 0:
            opens = state["price"]
            state |= {"sold": fields["sold"], "raised": fields["raised"]}
            state["price"] = self._price(state)
            self._traded(fields, time, opens=opens, eth=fields["curve_eth"])
        elif name == "Trade":
            self._traded(fields, time, opens=state["before"], eth=fields["curve_eth"])
        elif name == "Swap" and fields["sender"] != PAD:
            self._traded(fields, time, opens=state["before"], eth=fields["eth"])
        elif name == "Completed":
            state["phase"] = "graduating"
        elif name == "Reopened":
            state["phase"] = "reopened"
        elif name == "Graduated":
            state |= {"phase": "graduated", "reserves": fields["reserves"]}
            state["price"] = self._price(state)
        elif name == "Sync" and state["phase"] == "graduated":
            state |= {"before": state["price"], "reserves": fields["reserves"]}
            state["price"] = self._price(state)

    def _move(self, token: str, who: str, amount: int) -> None:
        if who != ZERO:
            self.balances[token, who] = self.balances.get((token, who), 0) + amount

    def _price(self, state: dict[str, Any]) -> int:
        if state["phase"] == "graduated":
            tokens, weth = state["reserves"]
            return int(weth * E36 // tokens)
        above, below = maths.price(state["config"], state["sold"], state["raised"])
        return above * E36 // below

    def _traded(self, fields: dict[str, Any], time: int, *, opens: int, eth: int) -> None:
        token, tokens = fields["token"], fields["tokens"]
        fee = sum(fields.get(name, 0) for name in ("protocol_fee", "creator_fee", "launch_fee"))
        paid = eth + fee if fields["is_buy"] else eth - fee
        side = "BUY" if fields["is_buy"] else "SELL"
        self.trades.append(
            {"token": token, "user": fields["trader"], "type": side, "eth": paid, "tokens": tokens}
        )
        minute, price = time - time % 60, self.states[token]["price"]
        candle = self.candles.get((token, minute))
        if candle is None:
            candle = self.candles[token, minute] = [opens, opens, opens, opens, 0, 0, 0]
        if token not in self._traded_here:
            # The spot before a block's first trade counts too: it moves without one.
            candle[1:3] = max(candle[1], opens), min(candle[2], opens)
            self._traded_here.add(token)
        candle[1:4] = max(candle[1], price), min(candle[2], price), price
        candle[4:] = candle[4] + eth, candle[5] + tokens, candle[6] + 1


def holders(ledger: Ledger, token: str) -> dict[str, int]:
    """Who holds how much of it; the launchpad and the pair are left out."""
    apart = {PAD, f"pair of {token}"}
    return {
        who: amount
        for (one, who), amount in ledger.balances.items()
        if one == token and amount and who not in apart
    }
