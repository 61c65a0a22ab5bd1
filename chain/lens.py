"""Batched reads of the launchpad through `LaunchpadLens`, all at one block.

`LaunchpadLens` never reverts for one item: each quote answers with what the launchpad's
`quote` returned, or that it reverted. Used by `verify` and by checks, never for serving.
A lens belongs to its launchpad: what it answers differs by the launchpad's version.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from chain.rpc import Rpc, RpcError
from engine.errors import TransientError
from engine.settings import Deployment

_MARKETS = keccak(b"markets(address,address[])")[:4]
_QUOTES = keccak(b"quotes(address,(address,bool,bool,uint256,uint256)[])")[:4]
_FEES = "(uint16,uint16,uint16,uint16,uint16,uint16)"
_MARKET_1 = f"(uint8,uint256,uint256,uint256,uint256,uint256,address,address,{_FEES})"
_MARKET_2 = (
    "(uint8,uint256,uint256,uint256,uint256,uint256,uint256,address,address,"
    f"uint256,uint256,{_FEES})"
)
_QUOTE = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bool)"

PHASES = {1: "curve", 2: "graduating", 3: "graduated", 4: "reopened"}
TOKENS_MAX = 400
"""Markets in one call: below the gas that nodes allow a call."""


@dataclass(frozen=True, slots=True)
class MarketState:
    """`ILaunchpad.MarketState`, the part that moves.

    `phase`: 0 none, 1 curve, 2 graduating, 3 graduated, 4 reopened. `sold` and `raised` are
    the curve's and rest once it is graduated; the reserves are the pair's, 0 before that.
    """

    phase: int
    sold: int
    raised: int
    seq: int
    reserve_token: int = 0
    reserve_weth: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """One call of `ILaunchpad.quote`."""

    token: bytes
    is_buy: bool
    exact_out: bool
    amount: int
    at_block: int


@dataclass(frozen=True, slots=True)
class TradeQuote:
    """`ILaunchpad.TradeQuote`."""

    tokens: int
    eth: int
    curve_eth: int
    protocol_fee: int
    creator_fee: int
    launch_fee: int
    refund: int
    sold: int
    raised: int
    clipped: bool


async def markets(
    rpc: Rpc,
    lens: bytes,
    *,
    launchpad: bytes,
    tokens: Sequence[bytes],
    block: int,
    version: int = 2,
) -> list[MarketState]:
    """The state of each token after `block`, in order; `version` is the launchpad's.

    Raises RpcError, TransientError, KeyError for a version that is not known.
    """
    kind, state = _MARKETS_OF[version]
    states: list[MarketState] = []
    for start in range(0, len(tokens), TOKENS_MAX):
        page = list(tokens[start : start + TOKENS_MAX])
        data = _MARKETS + encode(["address", "address[]"], [launchpad, page])
        (rows,) = decode([f"{kind}[]"], await _call(rpc, lens, data=data, block=block))
        states.extend(state(row) for row in rows)
    return states


async def state_rows(
    rpc: Rpc,
    launchpads: Sequence[Deployment],
    *,
    version: int,
    tokens: Sequence[bytes],
    block: int,
) -> list[tuple[str, int, int, int, int, int]]:
    """`markets` of the launchpad of a version as rows of `control.MarketStates` without the
    token: phase, sold, raised, seq and the pair's reserves.

    Raises TransientError: the node is away, or does not have the state of that block.
    """
    (pad,) = [one for one in launchpads if one.version == version]
    try:
        found = await markets(
            rpc, pad.lens, launchpad=pad.address, tokens=tokens, block=block, version=version
        )
    except (RpcError, DecodingError, TypeError, ValueError) as error:
        raise TransientError("stale_chain", f"Expected states of markets: {error!r}") from error
    return [state_row(one) for one in found]


def state_row(one: MarketState) -> tuple[str, int, int, int, int, int]:
    """Of `control.MarketStates`, without the token; phase "none" for an unknown one."""
    phase = PHASES.get(one.phase, "none")
    return (phase, one.sold, one.raised, one.seq, one.reserve_token, one.reserve_weth)


async def quotes(
    rpc: Rpc, lens: bytes, *, launchpad: bytes, questions: Sequence[Question], block: int
) -> list[TradeQuote | None]:
    """Each quote on the state after `block`, of either version; None where it reverts."""
    rows = [(q.token, q.is_buy, q.exact_out, q.amount, q.at_block) for q in questions]
    data = _QUOTES + encode(["address", "(address,bool,bool,uint256,uint256)[]"], [launchpad, rows])
    (answers,) = decode(["(bool,bytes)[]"], await _call(rpc, lens, data=data, block=block))
    return [TradeQuote(*decode([_QUOTE], raw)[0]) if ok else None for ok, raw in answers]


def _state_1(row: tuple[Any, ...]) -> MarketState:
    return MarketState(row[0], row[2], row[3], row[4])


def _state_2(row: tuple[Any, ...]) -> MarketState:
    return MarketState(row[0], row[2], row[3], row[4], row[9], row[10])


_MARKETS_OF: dict[int, tuple[str, Callable[[tuple[Any, ...]], MarketState]]] = {
    1: (_MARKET_1, _state_1),
    2: (_MARKET_2, _state_2),
}


async def _call(rpc: Rpc, to: bytes, *, data: bytes, block: int) -> bytes:
    call = {"to": "0x" + to.hex(), "data": "0x" + data.hex()}
    answer = await rpc.call("eth_call", [call, hex(block)])
    return bytes.fromhex(answer[2:])
