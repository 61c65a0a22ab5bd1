"""Transactions of strangers: read exactly, or refused with a code; never anything else."""

import contextlib

import pytest
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_hash.auto import keccak
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chain import abi, rlp, transactions
from chain.transactions import HALF_N, admit, decode_raw, decode_revert, recover
from engine.errors import CallerError
from tests.support import chain_settings

KEY = b"\x11" * 32
SENDER = bytes.fromhex(Account.from_key(KEY).address[2:])
PROGRAMMING_ERRORS = {"InsufficientBalance", "ReentrancyGuardReentrantCall"}
CHAIN = chain_settings.settings()
TO = "0x" + chain_settings.LAUNCHPAD.hex()
DATA = transactions.buy(token=b"\x01" * 20, min_tokens=5, recipient=SENDER, deadline=9)
ACCESS = [{"address": "0x" + "22" * 20, "storageKeys": ["0x" + "33" * 32]}]


def sign(**fields: object) -> bytes:
    base = {"to": TO, "value": 7, "gas": 100_000, "nonce": 3, "data": DATA, "chainId": 11155931}
    return bytes(Account.sign_transaction({**base, **fields}, KEY).raw_transaction)


def grant() -> object:
    return Account.sign_authorization({"chainId": 0, "address": "0x" + "44" * 20, "nonce": 0}, KEY)


def fee_market(**fields: object) -> bytes:
    return sign(type=2, maxFeePerGas=50, maxPriorityFeePerGas=2, **fields)


def signed_types() -> list[bytes]:
    return [
        sign(gasPrice=50),
        sign(type=1, gasPrice=50, accessList=ACCESS),
        fee_market(accessList=ACCESS),
        sign(type=4, maxFeePerGas=50, maxPriorityFeePerGas=2, authorizationList=[grant()]),
    ]


@pytest.mark.parametrize("raw", signed_types(), ids=["legacy", "1", "2", "4"])
def test_decode_raw_of_each_type_is_what_was_signed(raw: bytes) -> None:
    read = decode_raw(raw)
    assert (read.sender, read.chain_id, read.nonce) == (SENDER, 11155931, 3)
    assert (read.to, read.value, read.gas) == (chain_settings.LAUNCHPAD, 7, 100_000)
    assert (read.max_fee, read.data, read.action) == (50, DATA, "buy")
    assert read.hash == keccak(raw)
    admit(read, CHAIN)


@pytest.mark.parametrize("raw", signed_types(), ids=["legacy", "1", "2", "4"])
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_decode_raw_changed_bytes_is_refused_or_signed_by_another(
    raw: bytes, data: st.DataObject
) -> None:
    changed = bytearray(raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    changed[at] = data.draw(st.integers(0, 255).filter(lambda value: value != raw[at]))
    try:
        read = decode_raw(bytes(changed))
    except CallerError as error:
        assert error.code == "invalid_request"
    else:
        # A change inside the grants of type 4 or the signature gives another signer.
        assert read.sender != SENDER and len(read.sender) == 20


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=400))
@example(b"\xc1" * 5_000)
@example(b"\x02" + b"\xff" * 60)
@example(b"\xbf" + b"\xff" * 8)
@example(b"")
def test_decode_raw_any_bytes_is_refused(raw: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        decode_raw(raw)
    assert caught.value.code == "invalid_request"


items = st.recursive(
    st.binary(max_size=40), lambda inner: st.lists(inner, max_size=12), max_leaves=12
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"\x01", b"\x02", b"\x03", b"\x04"]), st.lists(items, max_size=14))
def test_decode_raw_any_structure_is_a_caller_error_or_read(kind: bytes, fields: list) -> None:
    try:
        decode_raw(kind + rlp.encode(fields))
    except CallerError as error:
        assert error.code == "invalid_request"


def test_decode_raw_too_long_is_refused() -> None:
    with pytest.raises(CallerError, match="invalid_request"):
        decode_raw(fee_market(data=b"\0" * 70_000))


def test_decode_raw_legacy_without_chain_id_is_refused() -> None:
    fields = [b"\x03", b"\x32", b"\x01\x86\xa0", chain_settings.LAUNCHPAD, b"\x07", DATA]
    signature = Account.unsafe_sign_hash(keccak(rlp.encode(fields)), KEY)
    tail = [rlp.of_int(signature.v), rlp.of_int(signature.r), rlp.of_int(signature.s)]
    with pytest.raises(CallerError, match="EIP-155"):
        decode_raw(rlp.encode(fields + tail))


def test_decode_raw_high_s_is_refused() -> None:
    items = rlp.decode(fee_market()[1:])
    assert isinstance(items, list)
    order = 2 * HALF_N + 1
    items[-1] = rlp.of_int(order - rlp.to_int(items[-1]))
    items[-3] = rlp.of_int(1 - rlp.to_int(items[-3]))
    with pytest.raises(CallerError, match="invalid_request"):
        decode_raw(b"\x02" + rlp.encode(items))


def test_decode_raw_deployment_has_no_recipient_and_is_not_admitted() -> None:
    read = decode_raw(fee_market(to=""))
    assert read.to is None
    with pytest.raises(CallerError, match="unknown_contract"):
        admit(read, CHAIN)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"chainId": 1}, "wrong_chain"),
        ({"to": "0x" + "99" * 20}, "unknown_contract"),
        ({"data": b"\x01\x02\x03\x04"}, "invalid_request"),
        ({"data": b""}, "invalid_request"),
        ({"gas": 16_000_001}, "invalid_request"),
    ],
)
def test_admit_what_no_door_submits_is_refused(fields: dict[str, object], code: str) -> None:
    with pytest.raises(CallerError) as caught:
        admit(decode_raw(fee_market(**fields)), CHAIN)
    assert caught.value.code == code


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**256), st.integers(0, 2**256))
def test_recover_any_numbers_is_an_address_or_a_value_error(digest: bytes, r: int, s: int) -> None:
    with contextlib.suppress(ValueError):
        assert len(recover(digest, r=r, s=s, parity=1)) == 20


# ------------------------------------------------------------------ rlp


@given(
    st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=4), max_leaves=6)
)
def test_rlp_round_trip_within_depth(item: rlp.Item) -> None:
    encoded = rlp.encode(item)
    try:
        assert rlp.decode(encoded) == item
    except ValueError as error:
        assert "in each other" in str(error)


@given(st.binary(max_size=100))
def test_rlp_decoded_noise_has_one_spelling(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except ValueError:
        return
    assert rlp.encode(item) == data


# ------------------------------------------------------------------ calldata, addresses


def test_calldata_equals_a_general_encoder() -> None:
    token, who, tag = b"\x01" * 20, b"\x02" * 20, b"code".ljust(32, b"\0")
    types = ["address", "uint256", "uint256", "address", "uint256", "bytes32"]
    tail = abi_encode(types, [token, 3, 4, who, 5, tag])
    common = {"token": token, "recipient": who, "deadline": 5, "tag": tag}
    made = {
        "buyExactOut": transactions.buy_exact_out(tokens=3, min_tokens=4, **common),
        "sell": transactions.sell(tokens=3, min_eth=4, **common),
        "sellExactOut": transactions.sell_exact_out(eth=3, max_tokens=4, **common),
    }
    for name, data in made.items():
        assert data == transactions.SELECTOR_OF[name] + tail
    short = abi_encode([*types[:2], *types[3:]], [token, 3, who, 5, tag])
    bought = transactions.buy(min_tokens=3, **common)
    assert bought == transactions.SELECTOR_OF["buy"] + short
    claim = transactions.claim_creator_fees(recipient=who)
    assert claim == transactions.SELECTOR_OF["claimCreatorFees"] + abi_encode(["address"], [who])


def test_create_calldata_is_one_tuple() -> None:
    data = transactions.create(
        name="N", symbol="S", metadata_hash=b"\x01" * 32, salt=b"\x02" * 32,
        curve_id=1, min_tokens=2, deadline=3,
    )  # fmt: skip
    kind = "(string,string,bytes32,bytes32,uint256,uint256,uint256,bytes32)"
    values = ("N", "S", b"\x01" * 32, b"\x02" * 32, 1, 2, 3, bytes(32))
    assert data == transactions.SELECTOR_OF["create"] + abi_encode([kind], [values])


def test_unsigned_is_json_rpc_hex_with_gas_capped() -> None:
    made = transactions.unsigned(
        chain_id=11155931, sender=SENDER, to=chain_settings.LAUNCHPAD, data=b"\x01", value=255,
        gas=20_000_000, max_fee=10, max_priority_fee=1,
    )  # fmt: skip
    assert made == {
        "from": Account.from_key(KEY).address,
        "to": TO,
        "data": "0x01",
        "value": "0xff",
        "chainId": "0xaa39db",
        "gas": hex(16_000_000),
        "maxFeePerGas": "0xa",
        "maxPriorityFeePerGas": "0x1",
    }
    Account.sign_transaction({**made, "type": 2, "nonce": 0}, KEY)


def test_token_address_equals_the_eip_1014_rule() -> None:
    init_hash = transactions.clone_init_hash(b"\x05" * 20)
    salt = keccak(abi_encode(["address", "bytes32"], [SENDER, b"\x06" * 32]))
    expected = keccak(b"\xff" + chain_settings.LAUNCHPAD + salt + init_hash)[12:]
    found = transactions.token_address(
        launchpad=chain_settings.LAUNCHPAD, creator=SENDER, salt=b"\x06" * 32, init_hash=init_hash
    )
    assert found == expected


# ------------------------------------------------------------------ reverts


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        ("MarketNotOpen(address,uint8)", "market_graduating"),
        ("AmountTooLarge(uint256)", "amount_too_large"),
        ("ExceedsSold(uint256,uint256)", "exceeds_sold"),
        ("ExceedsRaised(uint256,uint256)", "exceeds_sold"),
        ("ZeroOutput()", "zero_output"),
        ("SlippageExceeded(uint256,uint256)", "slippage_exceeded"),
        ("UnknownToken(address)", "token_not_found"),
        ("InvalidRecipient(address)", "invalid_address"),
        ("Expired(uint256,uint256)", "invalid_request"),
        ("InvalidText()", "invalid_request"),
        ("Strange()", "invalid_request"),
    ],
)
def test_decode_revert_gives_our_code(signature: str, code: str) -> None:
    assert decode_revert(keccak(signature.encode())[:4] + bytes(64)).code == code


def test_decode_revert_of_a_reason_carries_it() -> None:
    data = keccak(b"Error(string)")[:4] + abi_encode(["string"], ["no\0pe"])
    assert decode_revert(data).message == "Reverted: nope"


@given(st.binary(max_size=200))
def test_decode_revert_any_bytes_is_a_refusal(data: bytes) -> None:
    assert decode_revert(data).code
    assert decode_revert(keccak(b"Error(string)")[:4] + data).code


def test_decode_revert_knows_every_error_of_the_launchpad() -> None:
    for entry in abi.load("Launchpad")["abi"]:
        if entry["type"] == "error" and entry["name"] not in PROGRAMMING_ERRORS:
            kinds = ",".join(one["type"] for one in entry["inputs"])
            selector = keccak(f"{entry['name']}({kinds})".encode())[:4]
            assert entry["name"] in decode_revert(selector).message


def test_selectors_are_those_of_the_compiled_launchpad() -> None:
    functions = {e["name"] for e in abi.load("Launchpad")["abi"] if e["type"] == "function"}
    assert set(transactions.ACTIONS) <= functions
