"""Transactions as bytes: calldata, raw transactions, reverts, addresses. Pure codecs.

Everything that reads a stranger's bytes raises CallerError and nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import coincurve
from eth_abi.abi import encode
from eth_hash.auto import keccak

from chain import rlp
from chain.vault_errors import ERRORS as _VAULT_ERRORS
from engine import text
from engine.errors import CallerError
from engine.limits import BODY_BYTES_MAX, TRANSACTION_GAS_MAX
from engine.messages import Refusal
from engine.settings import ChainSettings

_CREATE_PARAMS = "(string,string,bytes32,bytes32,uint256,uint256,uint256,bytes32)"
ACTIONS: dict[str, str] = {
    "create": f"create({_CREATE_PARAMS})",
    "buy": "buy(address,uint256,address,uint256,bytes32)",
    "buyExactOut": "buyExactOut(address,uint256,uint256,address,uint256,bytes32)",
    "sell": "sell(address,uint256,uint256,address,uint256,bytes32)",
    "sellExactOut": "sellExactOut(address,uint256,uint256,address,uint256,bytes32)",
    "graduate": "graduate(address)",
    "reopen": "reopen(address)",
    "claimProtocolFees": "claimProtocolFees(address)",
    "claimCreatorFees": "claimCreatorFees(address)",
}
"""What a door may submit: name to signature."""

SELECTOR_OF = {name: keccak(signature.encode())[:4] for name, signature in ACTIONS.items()}
_ACTION_OF = {selector: name for name, selector in SELECTOR_OF.items()}

_SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_N = _SECP256K1_N // 2


@dataclass(frozen=True, slots=True)
class RawTransaction:
    """A signed transaction. `to` is None for a deployment; `action` the name in ACTIONS of
    its selector, None if unknown; `max_fee` wei a gas (the gas price of older types)."""

    hash: bytes
    chain_id: int
    sender: bytes
    to: bytes | None
    value: int
    gas: int
    max_fee: int
    nonce: int
    data: bytes
    action: str | None


# ------------------------------------------------------------------ calldata


def create(
    *,
    name: str,
    symbol: str,
    metadata_hash: bytes,
    salt: bytes,
    curve_id: int,
    min_tokens: int,
    deadline: int,
    tag: bytes = bytes(32),
) -> bytes:
    """Calldata of a launch; `deadline` unix seconds."""
    params = (name, symbol, metadata_hash, salt, curve_id, min_tokens, deadline, tag)
    return SELECTOR_OF["create"] + encode([_CREATE_PARAMS], [params])


def buy(
    *, token: bytes, min_tokens: int, recipient: bytes, deadline: int, tag: bytes = bytes(32)
) -> bytes:
    """Calldata of an exact-in buy; what is spent is the transaction's value."""
    return SELECTOR_OF["buy"] + _packed(token, min_tokens, recipient, deadline, tag)


def buy_exact_out(
    *,
    token: bytes,
    tokens: int,
    min_tokens: int,
    recipient: bytes,
    deadline: int,
    tag: bytes = bytes(32),
) -> bytes:
    """Calldata of an exact-out buy; the value is the most to pay."""
    packed = _packed(token, tokens, min_tokens, recipient, deadline, tag)
    return SELECTOR_OF["buyExactOut"] + packed


def sell(
    *,
    token: bytes,
    tokens: int,
    min_eth: int,
    recipient: bytes,
    deadline: int,
    tag: bytes = bytes(32),
) -> bytes:
    """Calldata of an exact-in sell."""
    return SELECTOR_OF["sell"] + _packed(token, tokens, min_eth, recipient, deadline, tag)


def sell_exact_out(
    *,
    token: bytes,
    eth: int,
    max_tokens: int,
    recipient: bytes,
    deadline: int,
    tag: bytes = bytes(32),
) -> bytes:
    """Calldata of an exact-out sell; `eth` is what the recipient gets after fees."""
    packed = _packed(token, eth, max_tokens, recipient, deadline, tag)
    return SELECTOR_OF["sellExactOut"] + packed


def graduate(*, token: bytes) -> bytes:
    """Calldata that opens the pool of a sold-out curve; anybody's, from launchpad version 2."""
    return SELECTOR_OF["graduate"] + _packed(token)


def reopen(*, token: bytes) -> bytes:
    """Calldata that lets sells resume where graduation has not come for 7 days."""
    return SELECTOR_OF["reopen"] + _packed(token)


def claim_protocol_fees(*, recipient: bytes) -> bytes:
    """Calldata of the owner's claim."""
    return SELECTOR_OF["claimProtocolFees"] + _packed(recipient)


def claim_creator_fees(*, recipient: bytes) -> bytes:
    """Calldata of a creator's claim."""
    return SELECTOR_OF["claimCreatorFees"] + _packed(recipient)


def _packed(*words: bytes | int) -> bytes:
    return b"".join(
        word.rjust(32, b"\0") if isinstance(word, bytes) else word.to_bytes(32, "big")
        for word in words
    )


def unsigned(
    *,
    chain_id: int,
    sender: bytes,
    to: bytes,
    data: bytes,
    value: int,
    gas: int,
    max_fee: int,
    max_priority_fee: int,
) -> dict[str, str]:
    """For a wallet to sign, JSON-RPC hex; without nonce, the wallet's business."""
    return {
        "from": text.address(sender),
        "to": text.address(to),
        "data": text.hex_of(data),
        "value": hex(value),
        "chainId": hex(chain_id),
        "gas": hex(min(gas, TRANSACTION_GAS_MAX)),
        "maxFeePerGas": hex(max_fee),
        "maxPriorityFeePerGas": hex(max_priority_fee),
    }


# ------------------------------------------------------------------ addresses


def clone_init_hash(implementation: bytes) -> bytes:
    """keccak of the creation code of an ERC-1167 clone of `implementation`."""
    prefix = bytes.fromhex("3d602d80600a3d3981f3363d3d373d3d3d363d73")
    return keccak(prefix + implementation + bytes.fromhex("5af43d82803e903d91602b57fd5bf3"))


def token_address(*, launchpad: bytes, creator: bytes, salt: bytes, init_hash: bytes) -> bytes:
    """Where `create` of `creator` with `salt` puts its token (CREATE2)."""
    own_salt = keccak(_packed(creator, salt))
    return keccak(b"\xff" + launchpad + own_salt + init_hash)[12:]


# ------------------------------------------------------------------ raw transactions


def transaction_hash(raw: bytes) -> bytes:
    """Known before anything is sent; it makes sending repeatable."""
    return keccak(raw)


def decode_raw(raw: bytes) -> RawTransaction:
    """Read and check a signed transaction: type 0 (with a chain id), 1, 2 or 4.

    Raises CallerError("invalid_request") for anything a node would not take as such.
    """
    if not raw or len(raw) > BODY_BYTES_MAX:
        raise _invalid(f"1 to {BODY_BYTES_MAX} bytes, was {len(raw)}")
    try:
        read = _legacy if raw[0] >= 0xC0 else _TYPES.get(raw[0])
        if read is None:
            raise _invalid(f"a transaction of type 0, 1, 2 or 4, was {raw[0]}")
        return read(raw)
    except ValueError as error:
        raise _invalid(f"a signed transaction: {error}") from error


def admit(transaction: RawTransaction, chain: ChainSettings) -> None:
    """Whether a door may submit it: our chain, our launchpad, a known selector, gas in bounds.

    Raises CallerError: "wrong_chain", "unknown_contract" or "invalid_request".
    """
    if transaction.chain_id != chain.chain_id:
        message = f"Expected chain {chain.chain_id}, was {transaction.chain_id}"
        raise CallerError("wrong_chain", message)
    if transaction.to not in {launchpad.address for launchpad in chain.launchpads}:
        raise CallerError("unknown_contract", "Expected a call of a launchpad")
    if transaction.action is None:
        raise _invalid(f"one of {', '.join(ACTIONS)}")
    if transaction.gas > TRANSACTION_GAS_MAX:
        raise _invalid(f"at most {TRANSACTION_GAS_MAX} gas, was {transaction.gas}")


def recover(digest: bytes, *, r: int, s: int, parity: int) -> bytes:
    """The address that signed `digest`. Raises ValueError, also for a high s (EIP-2)."""
    if not (0 < r < _SECP256K1_N and 0 < s <= HALF_N and parity in (0, 1)):
        raise ValueError("Expected r, s and parity in their ranges, s low")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    try:
        key = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception as error:
        # The library raises a bare Exception for a point that is not on the curve.
        raise ValueError("Expected a signature of a key") from error
    return keccak(key.format(compressed=False)[1:])[12:]


def _legacy(raw: bytes) -> RawTransaction:
    nonce, price, gas, to, value, data, v, r, s = _fields(raw, 9)
    signed = rlp.to_int(v)
    if signed < 35:
        raise ValueError("Expected a chain id in the signature (EIP-155)")
    chain_id, parity = divmod(signed - 35, 2)
    tail = [rlp.of_int(chain_id), b"", b""]
    digest = keccak(rlp.encode([nonce, price, gas, to, value, data, *tail]))
    common = [nonce, price, gas, to, value, data]
    return _checked(raw, digest=digest, chain_id=chain_id, common=common, signature=[parity, r, s])


def _access_list_type(raw: bytes) -> RawTransaction:
    items = _fields(raw[1:], 11)
    chain_id, nonce, price, gas, to, value, data, access, *signature = items
    _check_access_list(access)
    common = [nonce, price, gas, to, value, data]
    return _checked(
        raw,
        digest=_typed_digest(raw, items),
        chain_id=rlp.to_int(chain_id),
        common=common,
        signature=signature,
    )


def _fee_market_type(raw: bytes) -> RawTransaction:
    items = _fields(raw[1:], 12)
    chain_id, nonce, priority, max_fee, gas, to, value, data, access, *signature = items
    _check_access_list(access)
    _check_fees(priority, max_fee)
    common = [nonce, max_fee, gas, to, value, data]
    return _checked(
        raw,
        digest=_typed_digest(raw, items),
        chain_id=rlp.to_int(chain_id),
        common=common,
        signature=signature,
    )


def _set_code_type(raw: bytes) -> RawTransaction:
    items = _fields(raw[1:], 13)
    chain_id, nonce, priority, max_fee, gas, to, value, data, access, grants, *signature = items
    _check_access_list(access)
    _check_fees(priority, max_fee)
    if not isinstance(grants, list) or not grants or to == b"":
        raise ValueError("Expected authorizations and a recipient")
    for grant in grants:
        if not isinstance(grant, list) or len(grant) != 6 or not _is_bytes(grant[1], 20):
            raise ValueError("Expected authorizations of 6 fields")
        _numbers(grant[0], grant[2], grant[3], grant[4], grant[5])
    common = [nonce, max_fee, gas, to, value, data]
    return _checked(
        raw,
        digest=_typed_digest(raw, items),
        chain_id=rlp.to_int(chain_id),
        common=common,
        signature=signature,
    )


_TYPES: dict[int, Callable[[bytes], RawTransaction]] = {
    1: _access_list_type,
    2: _fee_market_type,
    4: _set_code_type,
}


def _fields(payload: bytes, count: int) -> list[Any]:
    items = rlp.decode(payload)
    if not isinstance(items, list) or len(items) != count:
        raise ValueError(f"Expected {count} fields")
    return items


def _typed_digest(raw: bytes, items: list[Any]) -> bytes:
    return keccak(raw[:1] + rlp.encode(items[:-3]))


def _numbers(*items: Any) -> None:
    for item in items:
        rlp.to_int(item)


def _check_fees(priority: Any, max_fee: Any) -> None:
    if rlp.to_int(priority) > rlp.to_int(max_fee):
        raise ValueError("Expected a priority fee of at most the fee")


def _check_access_list(access: Any) -> None:
    if not isinstance(access, list):
        raise ValueError("Expected an access list")
    for entry in access:
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[1], list):
            raise ValueError("Expected an access list of addresses and keys")
        address, keys = entry
        if not _is_bytes(address, 20) or not all(_is_bytes(key, 32) for key in keys):
            raise ValueError("Expected an access list of addresses and keys")


def _is_bytes(item: Any, length: int) -> bool:
    return isinstance(item, bytes) and len(item) == length


def _checked(
    raw: bytes,
    *,
    digest: bytes,
    chain_id: int,
    common: Sequence[Any],
    signature: Sequence[Any],
) -> RawTransaction:
    nonce, max_fee, gas, to, value, data = common
    parity, r, s = signature
    if not isinstance(data, bytes) or not (_is_bytes(to, 20) or to == b""):
        raise ValueError("Expected a recipient and data")
    parity = parity if isinstance(parity, int) else rlp.to_int(parity)
    return RawTransaction(
        hash=keccak(raw),
        chain_id=chain_id,
        sender=recover(digest, r=rlp.to_int(r), s=rlp.to_int(s), parity=parity),
        to=to or None,
        value=rlp.to_int(value),
        gas=rlp.to_int(gas, 64),
        max_fee=rlp.to_int(max_fee),
        nonce=rlp.to_int(nonce, 64),
        data=data,
        action=_ACTION_OF.get(data[:4]),
    )


def _invalid(expected: str) -> CallerError:
    return CallerError("invalid_request", f"Expected {expected}")


# ------------------------------------------------------------------ reverts

_ERRORS: tuple[tuple[str, str, str], ...] = (
    ("Expired(uint256,uint256)", "invalid_request", "The deadline has passed"),
    ("InvalidRecipient(address)", "invalid_address", "This recipient is not allowed"),
    ("UnknownToken(address)", "token_not_found", "No such token"),
    ("MarketNotOpen(address,uint8)", "market_graduating", "The market is not open"),
    ("AmountTooLarge(uint256)", "amount_too_large", "Expected at most 2^112 - 1"),
    ("ExceedsSold(uint256,uint256)", "exceeds_sold", "More than was sold"),
    ("ExceedsRaised(uint256,uint256)", "exceeds_sold", "More than was raised"),
    ("ZeroOutput()", "zero_output", "The trade gives nothing"),
    ("SlippageExceeded(uint256,uint256)", "slippage_exceeded", "The price moved past the bound"),
    ("LaunchesPaused()", "invalid_request", "Launches are paused"),
    ("InvalidText()", "invalid_request", "Name or symbol is empty or too long"),
    ("InvalidCurve()", "invalid_request", "Not a valid curve"),
    ("UnknownCurve(uint256)", "invalid_request", "No such curve"),
    ("InvalidFees(uint256)", "invalid_request", "Not valid fees"),
    ("Unauthorized(address)", "invalid_request", "The caller may not do this"),
    ("TransferFailed(address,uint256)", "invalid_request", "The recipient refused the ETH"),
    ("TooEarly(uint256,uint256)", "invalid_request", "Graduation may still come"),
    ("ERC20InsufficientBalance(address,uint256,uint256)", "invalid_request", "Too few tokens"),
    ("ERC20InsufficientAllowance(address,uint256,uint256)", "invalid_request", "No allowance"),
    ("FailedDeployment()", "invalid_request", "This salt was used before"),
)
_REFUSALS = {
    keccak(signature.encode())[:4]: (code, f"{message} ({signature.split('(')[0]})")
    for signature, code, message in (*_VAULT_ERRORS, *_ERRORS)
}
_ERROR_STRING = bytes.fromhex("08c379a0")
_REASON_CHARACTERS_MAX = 200


def decode_revert(data: bytes) -> Refusal:
    """The contract's error as one of our codes; never raises."""
    found = _REFUSALS.get(data[:4])
    if found is not None:
        return Refusal(*found)
    if data[:4] == _ERROR_STRING and len(data) >= 68:
        length = int.from_bytes(data[36:68], "big")
        reason = data[68 : 68 + min(length, 4 * _REASON_CHARACTERS_MAX)]
        text_ = reason.decode("utf-8", "replace").replace("\0", "")[:_REASON_CHARACTERS_MAX]
        return Refusal("invalid_request", f"Reverted: {text_}")
    what = f" with 0x{data[:4].hex()}" if data else ""
    return Refusal("invalid_request", f"Reverted{what}")
