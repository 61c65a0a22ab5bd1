"""What the stream client gives: quotes and events as values, refusals as errors. Amounts are
integers of base units, prices wei a whole token times 1e18.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Side = Literal["buy", "sell"]
Mode = Literal["exactIn", "exactOut"]


class StreamError(Exception):
    """The door refused, with its stable `code` (`rate_limited`, `market_halted`, …)."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = dict(details or {})

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class StreamTimeout(StreamError):
    """No answer in time: nobody was reached, or it was lost. Every request may be repeated."""

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__("timeout", f"Expected an answer to {what} in {timeout_s} s")


class StreamClosed(StreamError):
    """The client was closed, or may not connect; it does not try again."""


@dataclass(frozen=True, slots=True)
class QuoteOf:
    """One quote to ask for. `amount_wei` is ETH of an exact-in buy and of an exact-out sell,
    else tokens."""

    token: str
    side: Side
    amount_wei: int
    mode: Mode = "exactIn"
    slippage_bps: int = 100
    for_block: int | None = None
    sealed: bool = False

    def fields(self) -> dict[str, Any]:
        """As the door takes it."""
        asked: dict[str, Any] = {
            "token": self.token,
            "side": self.side,
            "mode": self.mode,
            "amountWei": str(self.amount_wei),
            "slippageBps": self.slippage_bps,
            "finality": "sealed" if self.sealed else "preconfirmed",
        }
        return asked if self.for_block is None else asked | {"forBlock": self.for_block}


@dataclass(frozen=True, slots=True)
class Quote:
    """What a trade gives on the state that `as_of` names, exact if it is mined in a block of
    `for_block` to `exact_until_block` (None: for ever) before the state changes. `bound_wei` is
    the least amount out (exact-in) or the most in (exact-out) under the slippage."""

    token: str
    side: Side
    mode: Mode
    amount_in_wei: int
    amount_out_wei: int
    protocol_fee_wei: int
    creator_fee_wei: int
    launch_fee_wei: int
    spot_price_e18: int
    execution_price_e18: int
    price_impact_bps: int
    bound_wei: int
    clipped: bool
    spent_wei: int
    refund_wei: int
    for_block: int
    exact_until_block: int | None
    phase: str
    as_of: Mapping[str, Any]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Quote":
        """From the door's `data`."""
        fees = data["fees"]
        return cls(
            token=data["token"],
            side=data["side"],
            mode=data["mode"],
            amount_in_wei=int(data["amountInWei"]),
            amount_out_wei=int(data["amountOutWei"]),
            protocol_fee_wei=int(fees["protocolWei"]),
            creator_fee_wei=int(fees["creatorWei"]),
            launch_fee_wei=int(fees["launchWei"]),
            spot_price_e18=int(data["spotPriceE18"]),
            execution_price_e18=int(data["executionPriceE18"]),
            price_impact_bps=data["priceImpactBps"],
            bound_wei=int(data.get("minOutWei") or data["maxInWei"]),
            clipped=data["clipped"],
            spent_wei=int(data["spentWei"]),
            refund_wei=int(data["refundWei"]),
            for_block=data["forBlock"],
            exact_until_block=data["exactUntilBlock"],
            phase=data["phase"],
            as_of=data["asOf"],
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a topic. `event` is `price`, `transaction`, `graduation`, `retracted`, … as
    the door has it, or the client's own `snapshot`: the topic as it stands, at the beginning and
    wherever messages were lost for good (then `gap` is true). `from_seq` to `seq` are the numbers
    it accounts for."""

    topic: str
    event: str
    seq: int | None
    from_seq: int | None
    generation: str | None
    data: Any
    gap: bool = False
