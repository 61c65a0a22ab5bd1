"""What a mined transaction did, read from its receipt's logs.

Only `Trade` and `TokenCreated` of our launchpads count; a log that does not have their shape
is somebody else's. The last trade of a transaction is its fill.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from eth_hash.auto import keccak

from engine.text import address, price, units
from gateway.ports import EventLog

_CURVE = "(uint8,uint128,uint128,uint128,uint128)"
_FEES = "(uint16,uint16,uint16,uint16,uint16,uint16)"
TRADE = keccak(
    b"Trade(address,address,address,uint256,uint256,bool,bool,uint8,bytes32,uint256,uint256,"
    b"uint256,uint256,uint256,uint256,uint256,uint256,uint256,bool)"
)
TOKEN_CREATED = keccak(
    f"TokenCreated(address,address,uint256,uint256,address,bool,uint256,{_CURVE},{_FEES},"
    "bytes32,string,string)".encode()
)
_TRADE_WORDS = 16


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade. `eth` is what was paid in all, or received after fees."""

    token: bytes
    trader: bytes
    is_buy: bool
    tokens: int
    eth: int
    protocol_fee: int
    creator_fee: int
    launch_fee: int
    refund: int
    clipped: bool


def fill_of(logs: Iterable[EventLog], launchpads: Collection[bytes]) -> Fill | None:
    """The last trade in `logs`; None when nothing was traded."""
    trades = [log for log in logs if log.address in launchpads and _is_trade(log)]
    return _fill(trades[-1]) if trades else None


def created_token(logs: Iterable[EventLog], launchpads: Collection[bytes]) -> bytes | None:
    """The token that was launched in `logs`."""
    for log in logs:
        if log.address in launchpads and len(log.topics) == 3 and log.topics[0] == TOKEN_CREATED:
            return log.topics[1][12:]
    return None


def named_tokens(logs: Iterable[EventLog], launchpads: Collection[bytes]) -> set[bytes]:
    """Tokens that events of the launchpads are about: the first indexed argument of each."""
    ours = [log for log in logs if log.address in launchpads and len(log.topics) > 1]
    return {log.topics[1][12:] for log in ours}


def fill_data(fill: Fill) -> dict[str, object]:
    """A fill as JSON."""
    return {
        "tokenAddress": address(fill.token),
        "type": "BUY" if fill.is_buy else "SELL",
        "tokenAmount": units(fill.tokens),
        "ethAmount": units(fill.eth),
        "pricePerToken": price(fill.eth * 10**36 // fill.tokens) if fill.tokens else None,
    }


def _is_trade(log: EventLog) -> bool:
    shaped = len(log.topics) == 4 and len(log.data) == 32 * _TRADE_WORDS
    return shaped and log.topics[0] == TRADE


def _fill(log: EventLog) -> Fill:
    words = [int.from_bytes(log.data[at : at + 32], "big") for at in range(0, len(log.data), 32)]
    # eventSeq, seq, isBuy, exactOut, venue, tag, requested, tokens, curveEth, protocolFee,
    # creatorFee, launchFee, refund, sold, raised, clipped
    is_buy, tokens, curve_eth = bool(words[2]), words[7], words[8]
    protocol, creator, launch, refund = words[9:13]
    fees = protocol + creator + launch
    return Fill(
        token=log.topics[1][12:],
        trader=log.topics[2][12:],
        is_buy=is_buy,
        tokens=tokens,
        eth=curve_eth + fees if is_buy else curve_eth - fees,
        protocol_fee=protocol,
        creator_fee=creator,
        launch_fee=launch,
        refund=refund,
        clipped=bool(words[15]),
    )
