"""Who signed a text: keys, contracts, and accounts that are both."""

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from chain.signatures import message_digest, verify_message
from chain.transactions import HALF_N
from engine.errors import CallerError, TransientError

KEY = b"\x11" * 32
ADDRESS = bytes.fromhex(Account.from_key(KEY).address[2:])
MESSAGE = "Zażółć: sign in to example.org"
SIGNED = bytes(Account.sign_message(encode_defunct(text=MESSAGE), KEY).signature)
YES = bytes.fromhex("1626ba7e").ljust(32, b"\0")


class FakeNode:
    def __init__(self, code: bytes = b"", answer: bytes | Exception = b"", away: bool = False):
        self.account_code, self.answer, self.away = code, answer, away
        self.asked = b""

    async def code(self, address: bytes, *, timeout_s: float | None = None) -> bytes:
        if self.away:
            raise TransientError("stale_chain", "away")
        return self.account_code

    async def call(self, *, to: bytes, data: bytes, timeout_s: float | None = None) -> bytes:
        self.asked = data
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def verify(node: FakeNode | None, signature: bytes = SIGNED, **fields: object) -> bool:
    values = {"address": ADDRESS, "message": MESSAGE, "signature": signature, "node": node}
    return await verify_message(**(values | fields))  # type: ignore[arg-type]


async def test_key_without_code_is_accepted() -> None:
    assert await verify(FakeNode()) and await verify(None)


async def test_key_of_another_or_text_of_another_is_refused() -> None:
    assert not await verify(FakeNode(), address=b"\x01" * 20)
    assert not await verify(FakeNode(), message="other")


@pytest.mark.parametrize("change", ["high_s", "v0", "short", "long"])
async def test_key_signature_in_another_form_is_refused(change: str) -> None:
    r, s, v = SIGNED[:32], int.from_bytes(SIGNED[32:64], "big"), SIGNED[64]
    forms = {
        "high_s": r + (2 * HALF_N + 1 - s).to_bytes(32, "big") + bytes([27 + 28 - v]),
        "v0": SIGNED[:64] + bytes([v - 27]),
        "short": SIGNED[:64],
        "long": SIGNED + b"\0",
    }
    assert not await verify(FakeNode(), forms[change])


@given(st.binary(max_size=70))
async def test_any_signature_bytes_is_refused_not_raised(signature: bytes) -> None:
    assert not await verify(None, signature)


async def test_contract_is_asked_and_its_key_does_not_count() -> None:
    yes = FakeNode(code=b"\x60\x01", answer=YES)
    assert await verify(yes, b"passkey")
    assert yes.asked[:4].hex() == "1626ba7e" and yes.asked[4:36] == message_digest(MESSAGE)
    assert not await verify(FakeNode(code=b"\x60\x01", answer=b"\0" * 32))
    reverts = CallerError("invalid_request", "Reverted")
    assert not await verify(FakeNode(code=b"\x60\x01", answer=reverts))


async def test_contract_answering_with_more_than_the_magic_is_refused() -> None:
    for answer in (YES + b"\0", YES[:4], YES[:-1] + b"\x01"):
        assert not await verify(FakeNode(code=b"\x60\x01", answer=answer), b"passkey")


async def test_delegated_account_may_use_either() -> None:
    code = bytes.fromhex("ef0100") + b"\x05" * 20
    assert await verify(FakeNode(code=code, answer=YES), b"passkey")
    assert await verify(FakeNode(code=code, answer=b""))
    assert not await verify(FakeNode(code=code, answer=b""), b"passkey")


async def test_node_away_a_key_still_logs_in_others_are_told_to_wait() -> None:
    assert await verify(FakeNode(away=True))
    with pytest.raises(TransientError):
        await verify(FakeNode(away=True), b"passkey")


def test_message_digest_counts_bytes() -> None:
    assert message_digest("é") == keccak(b"\x19Ethereum Signed Message:\n2\xc3\xa9")
