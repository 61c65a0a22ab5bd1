"""Logins of smart accounts on a real node: deployed, of a factory, delegated, to be delegated."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from chain.rpc import JsonRpc
from chain.signatures import ERC_6492_SUFFIX, ERC_8010_SUFFIX, verify_message
from chain.strangers import CALLS_PER_S, Strangers
from engine.errors import TransientError
from tests.support.evm import Chain, Contract
from tests.support.servers import Anvil

Harness = dict[str, dict[str, Any]]
MESSAGE = "example.org wants you to sign in"
INITIALIZE = keccak(b"initialize(address)")[:4]


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


def sign(account: LocalAccount) -> bytes:
    return bytes(account.sign_message(encode_defunct(text=MESSAGE)).signature)


async def verify(anvil: Anvil, address: bytes, signature: bytes) -> bool:
    rpc = JsonRpc(anvil.rpc_url, timeout_s=5)
    try:
        return await verify_message(
            address=address,
            message=MESSAGE,
            signature=signature,
            accounts=Strangers(rpc, anvil.chain_id),
        )
    finally:
        await rpc.close()


@pytest.fixture
def key() -> LocalAccount:
    return Account.create()


async def test_deployed_account_is_its_keys(
    anvil: Anvil, chain: Chain, harness: Harness, key: LocalAccount
) -> None:
    arguments = encode(["address"], [key.address])
    account = chain.create(harness["SmartAccount"], arguments, sender=chain.account("maker"))
    assert await verify(anvil, account, sign(key))
    assert not await verify(anvil, account, sign(Account.create()))


async def test_account_of_a_factory_before_and_after_it_is_made(
    anvil: Anvil, chain: Chain, harness: Harness, key: LocalAccount
) -> None:
    maker = chain.account("maker")
    place = chain.create(harness["SmartAccountFactory"], b"", sender=maker)
    factory = Contract(chain, harness["SmartAccountFactory"], place)
    salt = b"\x07" * 32
    call = factory.data("create", raw(key.address), salt)
    account = factory.call("create", raw(key.address), salt)

    def wrapped(signer: LocalAccount) -> bytes:
        words = ["0x" + place.hex(), call, sign(signer)]
        return encode(["address", "bytes", "bytes"], words) + ERC_6492_SUFFIX

    assert await verify(anvil, account, wrapped(key))
    assert not await verify(anvil, account, wrapped(Account.create()))
    assert not await verify(anvil, b"\x09" * 20, wrapped(key)), "the factory made another"
    factory.send("create", raw(key.address), salt, sender=maker)
    assert await verify(anvil, account, wrapped(key)), "the factory's call would fail now"
    assert await verify(anvil, account, sign(key))


def delegate_to(chain: Chain, account: LocalAccount, delegate: bytes) -> None:
    """By a real transaction of type 4, paid by the account."""
    chain.rpc("anvil_setBalance", account.address, hex(10**18))
    nonce = int(chain.rpc("eth_getTransactionCount", account.address, "latest"), 16)
    chain_id = int(chain.rpc("eth_chainId"), 16)
    authorization = account.sign_authorization(
        {"chainId": chain_id, "address": delegate, "nonce": nonce + 1}
    )
    signed = account.sign_transaction(
        {
            "type": 4,
            "chainId": chain_id,
            "nonce": nonce,
            "to": account.address,
            "value": 0,
            "gas": 200_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 0,
            "data": b"",
            "authorizationList": [authorization],
        }
    )
    chain.rpc("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
    chain.mine(1)
    assert chain.rpc("eth_getCode", account.address, "latest") == "0xef0100" + delegate.hex()


async def test_delegated_account_by_its_key_and_by_what_it_runs(
    anvil: Anvil, chain: Chain, harness: Harness, key: LocalAccount
) -> None:
    nobody = encode(["address"], ["0x" + "00" * 20])
    delegate = chain.create(harness["SmartAccount"], nobody, sender=chain.account("maker"))
    address, passkey = raw(key.address), Account.create()
    delegate_to(chain, key, delegate)
    assert await verify(anvil, address, sign(key)), "ERC-1271 says no, the key says yes"
    assert not await verify(anvil, address, sign(passkey))
    account = Contract(chain, harness["SmartAccount"], address)
    account.send("initialize", raw(passkey.address), sender=chain.account("maker"))
    assert await verify(anvil, address, sign(passkey))
    assert await verify(anvil, address, sign(key))


async def test_account_that_will_delegate_is_seen_as_it_will_be(
    anvil: Anvil, chain: Chain, harness: Harness, key: LocalAccount
) -> None:
    nobody = encode(["address"], ["0x" + "00" * 20])
    delegate = chain.create(harness["SmartAccount"], nobody, sender=chain.account("maker"))
    address, passkey = raw(key.address), Account.create()

    def wrapped(signer: LocalAccount, nonce: int) -> bytes:
        signed = key.sign_authorization(
            {"chainId": anvil.chain_id, "address": delegate, "nonce": nonce}
        )
        words = (anvil.chain_id, "0x" + delegate.hex(), nonce, signed.y_parity, signed.r, signed.s)
        call = INITIALIZE + encode(["address"], [passkey.address])
        context = encode(
            ["(uint256,address,uint256,uint8,uint256,uint256)", "address", "bytes"],
            [words, key.address, call],
        )
        return sign(signer) + context + len(context).to_bytes(32) + ERC_8010_SUFFIX

    assert await verify(anvil, address, wrapped(passkey, 0))
    assert not await verify(anvil, address, wrapped(Account.create(), 0))
    assert chain.rpc("eth_getCode", key.address, "latest") == "0x", "asked, not done"
    other = chain.create(harness["SmartAccount"], nobody, sender=chain.account("maker"))
    delegate_to(chain, key, other)
    assert not await verify(anvil, address, wrapped(passkey, 0)), "that nonce is spent"


async def test_account_that_never_ends_is_a_no_within_the_gas(
    anvil: Anvil, chain: Chain, harness: Harness
) -> None:
    endless = chain.create(harness["EndlessAccount"], b"", sender=chain.account("maker"))
    assert not await verify(anvil, endless, b"anything")


async def test_budget_of_strangers_is_bounded_and_fills_again(anvil: Anvil) -> None:
    rpc, now = JsonRpc(anvil.rpc_url, timeout_s=5), [0.0]
    strangers = Strangers(rpc, anvil.chain_id, clock=lambda: now[0])
    for _ in range(int(CALLS_PER_S)):
        await strangers.code(b"\x01" * 20)
    with pytest.raises(TransientError, match="overloaded"):
        await strangers.code(b"\x01" * 20)
    now[0] += 1.0
    assert await strangers.nonce(b"\x01" * 20) == 0
    await rpc.close()
