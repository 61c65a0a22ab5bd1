"""A market followed in Python beside the contract, trade by trade."""

from dataclasses import dataclass
from typing import Any

from curves.constant_product import ConstantProduct
from curves.curve import Quote
from curves.fees import FeeSchedule
from curves.linear import Linear
from tests.support.evm import FOREVER, Chain, Contract, Event
from tests.support.trade_cases import (
    BUY_EXACT_IN,
    BUY_EXACT_OUT,
    SELL_EXACT_IN,
    Case,
    World,
    quote,
)

TAG = b"FRIEND".ljust(32, b"\0")


@dataclass
class Mirror:
    """What the market must be. `apply` sends a trade and compares all that it did."""

    chain: Chain
    pad: Contract
    token: bytes
    creator: bytes
    world: World
    sold: int = 0
    raised: int = 0
    seq: int = 1
    protocol_fees: int = 0
    creator_fees: int = 0
    completed: bool = False

    def case(self, kind: int, amount: int, *, at_block: int, exempt: bool = False) -> Case:
        return Case(self.world, kind, at_block, exempt, self.sold, self.raised, amount)

    def trade(self, kind: int, amount: int, *, sender: bytes, extra: int = 0) -> Quote:
        """Quote, send, compare. An exact-out buy is paid with `extra` wei beyond its price."""
        extra = extra if kind == BUY_EXACT_OUT else 0
        block = self.chain.block_number() + 1
        expected = quote(self.case(kind, amount, at_block=block))
        recipient = self.chain.account("recipient")
        function, bounds, value = _call(kind, amount, expected, extra=extra)
        arguments = (self.token, *bounds, recipient, FOREVER, TAG)
        before = self.chain.balance(recipient), self._tokens(recipient)
        receipt = self.pad.transact(function, *arguments, sender=sender, value=value)
        assert int(receipt["blockNumber"], 16) == block
        events = self.pad.events(receipt)
        self.check(expected, events, trader=sender, recipient=recipient, extra=extra)
        after = self.chain.balance(recipient), self._tokens(recipient)
        gained = (0, expected.tokens) if expected.is_buy else (expected.eth, 0)
        assert (after[0] - before[0], after[1] - before[1]) == gained
        return expected

    def check(
        self,
        expected: Quote,
        events: list[Event],
        *,
        trader: bytes,
        recipient: bytes,
        extra: int = 0,
        tag: bytes = TAG,
    ) -> None:
        """Compare a trade's events with the twin, move on, compare the state."""
        trade = next(event for event in events if event.name == "Trade").args
        self.seq += 1
        wanted: dict[str, Any] = {
            "token": self.token,
            "trader": trader,
            "recipient": recipient,
            "seq": self.seq,
            "isBuy": expected.is_buy,
            "exactOut": expected.exact_out,
            "venue": 0,
            "tag": tag,
            "requested": expected.requested,
            "tokens": expected.tokens,
            "curveEth": expected.curve_eth,
            "protocolFee": expected.protocol_fee,
            "creatorFee": expected.creator_fee,
            "launchFee": expected.launch_fee,
            "refund": expected.refund + extra,
            "sold": expected.sold,
            "raised": expected.raised,
            "clipped": expected.clipped,
        }
        assert {k: v for k, v in trade.items() if k != "eventSeq"} == wanted
        self.sold, self.raised = expected.sold, expected.raised
        self.protocol_fees += expected.protocol_fee + expected.launch_fee
        self.creator_fees += expected.creator_fee
        self._check_completion(events)
        self.check_state()

    def _check_completion(self, events: list[Event]) -> None:
        completions = [event.args for event in events if event.name == "Completed"]
        self.completed = self.sold == self.world.curve.curve_supply
        assert len(completions) == int(self.completed)
        if self.completed:
            self.seq += 1
            args = completions[0]
            assert (args["token"], args["seq"]) == (self.token, self.seq)
            assert (args["sold"], args["raised"]) == (self.sold, self.raised)

    def check_state(self) -> None:
        state = self.pad.call("market", self.token)
        assert (state["sold"], state["raised"]) == (self.sold, self.raised)
        assert (state["seq"], state["phase"]) == (self.seq, 2 if self.completed else 1)
        assert state["creator"] == self.creator

    def _tokens(self, account: bytes) -> int:
        raw = self.chain.call(self.token, bytes.fromhex("70a08231") + account.rjust(32, b"\0"))
        return int.from_bytes(raw, "big")


def _call(kind: int, amount: int, expected: Quote, extra: int) -> tuple[str, tuple[int, ...], int]:
    # Function, amount with its tightest bounds, value.
    if kind == BUY_EXACT_IN:
        # Where it is clipped its bound is a price: the tokens that the whole value would give.
        return "buy", (expected.tokens * amount // expected.eth,), amount
    if kind == BUY_EXACT_OUT:
        return "buyExactOut", (amount, expected.tokens), expected.eth + extra
    if kind == SELL_EXACT_IN:
        return "sell", (amount, expected.eth), 0
    return "sellExactOut", (amount, expected.tokens), 0


def world_of(created: dict[str, Any], launch_block: int) -> World:
    """The twin of what `TokenCreated` says."""
    curve, fees = created["curve"], created["fees"]
    family = (ConstantProduct, Linear)[curve["family"]]
    return World(
        family(curve["a"], curve["b"], curve["curveSupply"], curve["poolSupply"]),
        FeeSchedule(
            fees["protocolBps"],
            fees["creatorBps"],
            fees["launchBps"],
            fees["launchBlocks"],
            launch_block,
        ),
    )


def launch(
    chain: Chain,
    pad: Contract,
    *,
    creator: bytes,
    salt: int,
    curve_id: int = 0,
    value: int = 0,
    name: str = "Rise Cat",
    symbol: str = "RCAT",
) -> tuple[Mirror, list[Event]]:
    """Create a token, with a first buy of `value`; compared like every trade."""
    salted = salt.to_bytes(32, "big")
    params = (name, symbol, bytes(32), salted, curve_id, 0, FOREVER, TAG)
    receipt = pad.transact("create", params, sender=creator, value=value)
    events = pad.events(receipt)
    created = next(event for event in events if event.name == "TokenCreated").args
    block = int(receipt["blockNumber"], 16)
    mirror = Mirror(chain, pad, created["token"], creator, world_of(created, block))
    if value:
        first = quote(mirror.case(BUY_EXACT_IN, value, at_block=block, exempt=True))
        mirror.check(first, events, trader=creator, recipient=creator)
    else:
        mirror.check_state()
    return mirror, events
