"""Who signed a message: a key (EIP-191), or a smart account, also one that is not there yet.

In this order:
  1. the suffix of ERC-6492: the account's code says so, if need be after its factory's call;
  2. the suffix of ERC-8010: the code that the account's key has delegated to says so, if need
     be after its initialisation; the authorisation is checked here, and must still be good;
  3. code `0xef0100…` (EIP-7702): ERC-1271, then the key, for the account still has one;
  4. other code: ERC-1271 only;
  5. no code: the key.
"""

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from chain import rlp
from chain.rpc import RpcError
from chain.strangers import Accounts
from chain.transactions import HALF_N, recover
from engine.errors import TransientError

SIGNATURE_BYTES_MAX = 8 * 1024
"""A passkey account's signature is about 1 KB, its factory's call as much again."""

ERC_6492_SUFFIX = bytes.fromhex("6492" * 16)
ERC_8010_SUFFIX = bytes.fromhex("8010" * 16)
_DELEGATED = bytes.fromhex("ef0100")
_AUTHORISATION = b"\x05"  # EIP-7702's MAGIC
_CONTEXT_8010 = ["(uint256,address,uint256,uint8,uint256,uint256)", "address", "bytes"]


def message_digest(message: str) -> bytes:
    """EIP-191, version "E": what wallets sign for a text."""
    body = message.encode()
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(body)).encode() + body)


async def verify_message(
    *, address: bytes, message: str, signature: bytes, accounts: Accounts | None
) -> bool:
    """Whether `address` signed `message`. Without `accounts` only keys can be checked.

    Raises TransientError when the answer needs the node and the node is away: an account
    with a key that matches does not need it, since no contract has a known key.
    """
    if len(signature) > SIGNATURE_BYTES_MAX:
        return False
    digest = message_digest(message)
    if accounts is None:
        return _signed_by_key(address, digest, signature)
    try:
        return await _verified(accounts, account=address, digest=digest, signature=signature)
    except RpcError as error:
        raise TransientError("stale_chain", f"The node refused: {error}") from error
    except TransientError:
        if _signed_by_key(address, digest, signature):
            return True
        raise


async def _verified(accounts: Accounts, *, account: bytes, digest: bytes, signature: bytes) -> bool:
    if signature.endswith(ERC_6492_SUFFIX):
        return await _by_factory(accounts, account=account, digest=digest, wrapped=signature)
    if signature.endswith(ERC_8010_SUFFIX):
        return await _by_delegation(accounts, account=account, digest=digest, wrapped=signature)
    code = await accounts.code(account)
    if not code:
        return _signed_by_key(account, digest, signature)
    if await accounts.accepts(account=account, digest=digest, signature=signature):
        return True
    return code.startswith(_DELEGATED) and _signed_by_key(account, digest, signature)


async def _by_factory(accounts: Accounts, *, account: bytes, digest: bytes, wrapped: bytes) -> bool:
    # (address factory, bytes its call, bytes signature) and the suffix.
    try:
        body = wrapped[: -len(ERC_6492_SUFFIX)]
        factory, call, signature = decode(["address", "bytes", "bytes"], body)
    except (DecodingError, ValueError, OverflowError):
        return False
    return await accounts.accepts(
        account=account,
        digest=digest,
        signature=signature,
        prepare=(bytes.fromhex(factory[2:]), call),
    )


async def _by_delegation(
    accounts: Accounts, *, account: bytes, digest: bytes, wrapped: bytes
) -> bool:
    # signature, context (authorisation, initialiser, its call), context's length, suffix.
    try:
        body = wrapped[: -len(ERC_8010_SUFFIX)]
        length = int.from_bytes(body[-32:])
        if not 0 < length <= len(body) - 32:
            return False
        start = len(body) - 32 - length
        authorisation, to, call = decode(_CONTEXT_8010, body[start : start + length])
    except (DecodingError, ValueError, OverflowError):
        return False
    chain_id, delegate, nonce, parity, r, s = authorisation
    delegate = bytes.fromhex(delegate[2:])
    signed = [rlp.of_int(chain_id), delegate, rlp.of_int(nonce)]
    try:
        signer = recover(keccak(_AUTHORISATION + rlp.encode(signed)), r=r, s=s, parity=parity)
    except ValueError:
        return False
    if signer != account or chain_id not in (0, accounts.chain_id):
        return False
    code = await accounts.code(account)
    delegated = _DELEGATED + delegate
    if code != delegated and (
        not _may_delegate(code) or nonce not in await _next_nonces(accounts, account)
    ):
        # Spent, or revoked by a later one: who knows this delegate's keys by now is anyone.
        return False
    return await accounts.accepts(
        account=account,
        digest=digest,
        signature=body[:start],
        prepare=(bytes.fromhex(to[2:]), call) if call else None,
        code=None if code == delegated else delegated,
    )


def _may_delegate(code: bytes) -> bool:
    return not code or code.startswith(_DELEGATED)


async def _next_nonces(accounts: Accounts, account: bytes) -> tuple[int, int]:
    # The account's own transaction counts itself before its authorisations are looked at.
    nonce = await accounts.nonce(account)
    return nonce, nonce + 1


def _signed_by_key(address: bytes, digest: bytes, signature: bytes) -> bool:
    if len(signature) != 65 or signature[64] not in (27, 28):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if s > HALF_N:
        return False
    try:
        return recover(digest, r=r, s=s, parity=signature[64] - 27) == address
    except ValueError:
        return False
