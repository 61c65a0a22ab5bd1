"""Who signed a text: keys, contracts, accounts that are both, and accounts that will be."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from chain.signatures import (
    ERC_6492_SUFFIX,
    ERC_8010_SUFFIX,
    SIGNATURE_BYTES_MAX,
    message_digest,
    verify_message,
)
from chain.transactions import HALF_N
from engine.errors import TransientError

KEY = b"\x11" * 32
ADDRESS = bytes.fromhex(Account.from_key(KEY).address[2:])
MESSAGE = "Zażółć: sign in to example.org"
SIGNED = bytes(Account.sign_message(encode_defunct(text=MESSAGE), KEY).signature)
DELEGATE = b"\x05" * 20
DELEGATED = bytes.fromhex("ef0100") + DELEGATE
CHAIN_ID = 11155931


@dataclass
class FakeAccounts:
    """One account. `accepted` are signatures that its code says yes to."""

    account_code: bytes = b""
    accepted: tuple[bytes, ...] = ()
    next_nonce: int = 0
    away: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    chain_id: int = CHAIN_ID

    async def code(self, address: bytes) -> bytes:
        if self.away:
            raise TransientError("stale_chain", "away")
        return self.account_code

    async def nonce(self, address: bytes) -> int:
        return self.next_nonce

    async def accepts(self, **question: Any) -> bool:
        if self.away:
            raise TransientError("stale_chain", "away")
        self.asked.append(question)
        return question["signature"] in self.accepted


async def verify(
    accounts: FakeAccounts | None, signature: bytes = SIGNED, **fields: object
) -> bool:
    values: dict[str, Any] = {
        "address": ADDRESS,
        "message": MESSAGE,
        "signature": signature,
        "accounts": accounts,
    }
    return await verify_message(**(values | fields))


async def test_key_without_code_is_accepted() -> None:
    assert await verify(FakeAccounts()) and await verify(None)


async def test_key_of_another_or_text_of_another_is_refused() -> None:
    assert not await verify(FakeAccounts(), address=b"\x01" * 20)
    assert not await verify(FakeAccounts(), message="other")


@pytest.mark.parametrize("change", ["high_s", "v0", "short", "long"])
async def test_key_signature_in_another_form_is_refused(change: str) -> None:
    r, s, v = SIGNED[:32], int.from_bytes(SIGNED[32:64], "big"), SIGNED[64]
    forms = {
        "high_s": r + (2 * HALF_N + 1 - s).to_bytes(32, "big") + bytes([27 + 28 - v]),
        "v0": SIGNED[:64] + bytes([v - 27]),
        "short": SIGNED[:64],
        "long": SIGNED + b"\0",
    }
    assert not await verify(FakeAccounts(), forms[change])


@given(st.binary(max_size=70))
async def test_any_signature_bytes_is_refused_not_raised(signature: bytes) -> None:
    assert not await verify(None, signature)


@given(
    st.binary(max_size=300),
    st.sampled_from([ERC_6492_SUFFIX, ERC_8010_SUFFIX, bytes(32) + ERC_8010_SUFFIX]),
)
async def test_any_wrapped_bytes_is_refused_not_raised(body: bytes, suffix: bytes) -> None:
    assert not await verify(FakeAccounts(), body + suffix)


async def test_contract_is_asked_and_its_key_does_not_count() -> None:
    contract = FakeAccounts(b"\x60\x01", (b"passkey",))
    assert await verify(contract, b"passkey")
    assert contract.asked[0]["digest"] == message_digest(MESSAGE)
    assert not await verify(contract)


async def test_delegated_account_may_use_either() -> None:
    account = FakeAccounts(DELEGATED, (b"passkey",))
    assert await verify(account, b"passkey") and await verify(account)
    assert not await verify(account, b"other")


async def test_signature_longer_than_the_bound_is_refused_unasked() -> None:
    account = FakeAccounts(b"\x60\x01")
    assert not await verify(account, bytes(SIGNATURE_BYTES_MAX) + ERC_6492_SUFFIX)
    assert account.asked == []


async def test_node_away_a_key_still_logs_in_others_are_told_to_wait() -> None:
    assert await verify(FakeAccounts(away=True))
    with pytest.raises(TransientError):
        await verify(FakeAccounts(away=True), b"passkey")


# --------------------------------------------------------------------- ERC-6492


def by_factory(signature: bytes) -> bytes:
    factory = "0x" + "aa" * 20
    return encode(["address", "bytes", "bytes"], [factory, b"make", signature]) + ERC_6492_SUFFIX


async def test_account_of_a_factory_is_asked_with_its_call() -> None:
    account = FakeAccounts(accepted=(b"passkey",))
    assert await verify(account, by_factory(b"passkey"))
    assert account.asked[0]["prepare"] == (b"\xaa" * 20, b"make")
    assert not await verify(account, by_factory(b"other"))


async def test_key_inside_a_factorys_wrapper_does_not_count() -> None:
    assert not await verify(FakeAccounts(), by_factory(SIGNED))


# --------------------------------------------------------------------- ERC-8010


def by_delegation(signature: bytes, *, call: bytes = b"", **fields: Any) -> bytes:
    values = {"chainId": CHAIN_ID, "address": DELEGATE, "nonce": 0, "key": KEY} | fields
    key = values.pop("key")
    signed = Account.sign_authorization(values, key)
    words = [values["chainId"], "0x" + values["address"].hex(), values["nonce"]]
    context = encode(
        ["(uint256,address,uint256,uint8,uint256,uint256)", "address", "bytes"],
        [(*words, signed.y_parity, signed.r, signed.s), "0x" + "bb" * 20, call],
    )
    return signature + context + len(context).to_bytes(32) + ERC_8010_SUFFIX


async def test_account_that_will_delegate_is_asked_as_if_it_had() -> None:
    account = FakeAccounts(accepted=(b"passkey",), next_nonce=4)
    for nonce in (4, 5):  # 5: by a transaction of its own
        assert await verify(account, by_delegation(b"passkey", nonce=nonce, call=b"init"))
    assert account.asked[0]["code"] == DELEGATED
    assert account.asked[0]["prepare"] == (b"\xbb" * 20, b"init")
    assert await verify(account, by_delegation(b"passkey", nonce=4, chainId=0))
    assert not await verify(account, by_delegation(b"other", nonce=4))


async def test_account_that_has_delegated_is_asked_as_it_is() -> None:
    account = FakeAccounts(DELEGATED, (b"passkey",), next_nonce=9)
    assert await verify(account, by_delegation(b"passkey", nonce=4))
    assert account.asked[0]["code"] is None and account.asked[0]["prepare"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"chainId": 1},
        {"nonce": 3},  # spent, perhaps to leave this very delegate
        {"nonce": 6},
        {"key": b"\x12" * 32},
    ],
    ids=str,
)
async def test_authorisation_that_would_not_be_taken_is_refused(wrong: dict[str, Any]) -> None:
    for code in (b"", bytes.fromhex("ef0100") + b"\x06" * 20):
        account = FakeAccounts(code, (b"passkey",), next_nonce=4)
        assert not await verify(account, by_delegation(b"passkey", **({"nonce": 4} | wrong)))
        assert account.asked == []


async def test_contract_cannot_delegate() -> None:
    account = FakeAccounts(b"\x60\x01", (b"passkey",))
    assert not await verify(account, by_delegation(b"passkey"))


def test_message_digest_counts_bytes() -> None:
    assert message_digest("é") == keccak(b"\x19Ethereum Signed Message:\n2\xc3\xa9")
