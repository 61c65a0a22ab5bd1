"""Addresses by EIP-55, hashes and bytes by their length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import text
from engine.errors import CallerError
from gateway.addresses import parse_address, parse_hash, parse_hex

# The vectors of EIP-55 itself.
VECTORS = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("vector", VECTORS)
def test_address_vector_of_the_standard_is_read_and_written(vector: str) -> None:
    assert text.address(parse_address(vector)) == vector


@pytest.mark.parametrize("vector", VECTORS)
def test_address_without_case_is_accepted(vector: str) -> None:
    raw = bytes.fromhex(vector[2:])
    assert parse_address("0x" + raw.hex()) == raw
    assert parse_address("0x" + raw.hex().upper()) == raw


@given(st.binary(min_size=20, max_size=20), st.data())
def test_address_with_one_letter_turned_is_refused(raw: bytes, data: st.DataObject) -> None:
    good = text.address(raw)
    letters = [i for i, one in enumerate(good) if i > 1 and one.isalpha()]
    if len(letters) < 2:
        return
    at = data.draw(st.sampled_from(letters))
    turned = good[:at] + good[at].swapcase() + good[at + 1 :]
    digits = turned[2:]
    if digits in (digits.lower(), digits.upper()):
        return
    with pytest.raises(CallerError) as caught:
        parse_address(turned)
    assert caught.value.code == "invalid_address"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0x",
        "0x" + "1" * 39,
        "0x" + "1" * 41,
        "1" * 42,
        "0X" + "1" * 40,
        "0x" + "g" * 40,
        "0x" + "1" * 40 + "\n",
        " 0x" + "1" * 40,
        "0x" + "\uff11" * 40,
    ],
)
def test_address_of_another_shape_is_refused(value: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_address(value)
    assert caught.value.code == "invalid_address"


def test_hash_and_bytes_want_their_length() -> None:
    assert parse_hash("0x" + "Ab" * 32) == b"\xab" * 32
    assert parse_hex("0xab", bytes_max=1) == b"\xab"
    for bad in ("0x", "0x" + "1" * 63, "0x" + "1" * 65, "1" * 64, "0x" + "\u0661" * 64):
        with pytest.raises(CallerError):
            parse_hash(bad)
    for bad in ("", "0x1", "ab", "0xabcd", "0xzz", "0x\n"):
        with pytest.raises(CallerError):
            parse_hex(bad, bytes_max=1)
