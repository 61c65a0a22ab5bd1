"""Logs to events: equal to a general ABI decoder, deaf to strangers, strict with our own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from chain.decode import SIGNATURES, TOPIC_OF, TOPICS, Decoder, RawLog, raw_log
from engine.errors import ConsistencyError
from engine.messages import (
    Administered,
    Completed,
    CurveAdded,
    CurveNumbers,
    FeeNumbers,
    TokenCreated,
    Traded,
    Transferred,
)
from tests.support.chain_settings import LAUNCHPAD, settings

ABI = Path(__file__).parents[3] / "chain/abi/Launchpad.json"
TOKEN, ALICE, BOB, PAIR = (bytes([n]) * 20 for n in (0xA1, 0xA2, 0xA3, 0xA4))
WETH = b"\x55" * 20
FOREIGN = bytes([0xFF]) * 20
OTHERS = {"Transfer", "Sync", "Swap"}
CURVE_TYPE = "(uint8,uint128,uint128,uint128,uint128)"
FEES_TYPE = "(uint16,uint16,uint16,uint16,uint16,uint16)"
CREATED = [
    *("uint256", "uint256", "address", "bool", "uint256"),
    *(CURVE_TYPE, FEES_TYPE, "bytes32", "string", "string"),
]
TRADE = ["uint256", "uint256", "bool", "bool", "uint8", "bytes32", *["uint256"] * 9, "bool"]
uints = {bits: st.integers(0, 2**bits - 1) for bits in (8, 16, 128, 256)}
addresses = st.binary(min_size=20, max_size=20)


def word(value: bytes | int) -> bytes:
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def log(name: str, topics: list[bytes], data: bytes, **fields: Any) -> RawLog:
    values: dict[str, Any] = {
        "address": LAUNCHPAD,
        "topics": (TOPIC_OF[name], *(word(topic) for topic in topics)),
        "data": data,
        "block_number": 7,
        "block_hash": b"\x07" * 32,
        "tx_hash": b"\x01" * 32,
        "tx_index": 0,
        "log_index": 0,
        "removed": False,
    }
    return RawLog(**(values | fields))


def created(token: bytes = TOKEN, name: str = "Name", **fields: Any) -> RawLog:
    curve, fees = (0, 1, 2, 3, 4), (1, 2, 3, 4, 5, 6)
    values = (5, 1, PAIR, True, 9, curve, fees, b"\x0a" * 32, name, "SYM")
    return log("TokenCreated", [token, ALICE], abi_encode(CREATED, values), **fields)


def transfer(token: bytes = TOKEN, **fields: Any) -> RawLog:
    return log("Transfer", [bytes(20), BOB], word(77), address=token, **fields)


def trade_data(*values: Any) -> bytes:
    return abi_encode(TRADE, values)


def decode_one(one: RawLog) -> Any:
    (event,) = decoder().decode([one], block_time=99)
    return event


def decoder() -> Decoder:
    """Version 2 of the launchpad; TOKEN and its PAIR are known."""
    pad = replace(settings().launchpads[0], version=2)
    return Decoder(settings(launchpads=(pad,), weth=WETH), {TOKEN: 2}, {PAIR: TOKEN})


def test_topics_are_those_of_the_compiled_launchpad() -> None:
    if not ABI.exists():
        pytest.skip("not compiled yet")
    abi = json.loads(ABI.read_text())["abi"]

    def kind(entry: dict[str, Any]) -> str:
        if not entry["type"].startswith("tuple"):
            return str(entry["type"])
        inner = ",".join(kind(part) for part in entry["components"])
        return f"({inner}){entry['type'][5:]}"

    compiled = {
        entry["name"]: f"{entry['name']}({','.join(kind(one) for one in entry['inputs'])})"
        for entry in abi
        if entry["type"] == "event"
    }
    assert compiled == {name: text for name, text in SIGNATURES.items() if name not in OTHERS}


def test_topic_of_transfer_is_the_known_one() -> None:
    known = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert TOPIC_OF["Transfer"].hex() == known
    assert len(TOPICS) == len(SIGNATURES)


@given(
    st.tuples(
        *(uints[256], uints[256], st.booleans(), st.booleans(), uints[8]),
        st.binary(min_size=32, max_size=32),
        *[uints[256]] * 9,
        st.booleans(),
    ),
    addresses,
    addresses,
    addresses,
)
def test_trade_any_values_equals_a_general_decoder(
    values: tuple[Any, ...], token: bytes, trader: bytes, recipient: bytes
) -> None:
    data = trade_data(*values)
    event = decode_one(log("Trade", [token, trader, recipient], data))
    assert isinstance(event, Traded)
    read = (
        *(event.event_seq, event.seq, event.is_buy, event.exact_out, event.venue, event.tag),
        *(event.requested, event.tokens, event.curve_eth, event.protocol_fee),
        *(event.creator_fee, event.launch_fee, event.refund, event.sold, event.raised),
        event.clipped,
    )
    assert read == abi_decode(TRADE, data)
    assert (event.token, event.trader, event.recipient) == (token, trader, recipient)


@given(
    st.tuples(uints[256], uints[256], addresses, st.booleans(), uints[256]),
    st.tuples(st.integers(0, 1), *[uints[128]] * 4),
    st.tuples(*[uints[16]] * 6),
    st.text(max_size=300),
    st.text(max_size=50),
)
def test_token_created_any_values_equals_what_was_encoded(
    head: tuple[Any, ...],
    curve: tuple[int, ...],
    fees: tuple[int, ...],
    name: str,
    symbol: str,
) -> None:
    name, symbol = (one.encode("utf-8", "ignore").decode() for one in (name, symbol))
    data = abi_encode(CREATED, (*head, curve, fees, b"\x0b" * 32, name, symbol))
    event = decode_one(log("TokenCreated", [TOKEN, ALICE], data))
    assert isinstance(event, TokenCreated)
    read = (event.event_seq, event.seq, event.pair, event.pair_preexisted, event.curve_id)
    assert read == head
    assert event.curve == CurveNumbers(*curve) and event.fees == FeeNumbers(*fees)
    assert event.name == name.replace("\0", "") and event.symbol == symbol.replace("\0", "")
    assert event.metadata_hash == b"\x0b" * 32
    assert (event.token, event.creator) == (TOKEN, ALICE)


@given(st.binary(max_size=800), st.lists(st.binary(min_size=32, max_size=32), max_size=3))
def test_any_event_from_noise_is_an_event_or_a_consistency_error(
    data: bytes, topics: list[bytes]
) -> None:
    for name in SIGNATURES:
        address = {"Transfer": TOKEN, "Sync": PAIR, "Swap": PAIR}.get(name, LAUNCHPAD)
        noisy = replace(log(name, [], data, address=address), topics=(TOPIC_OF[name], *topics))
        try:
            assert len(decoder().decode([noisy], block_time=1)) <= 1
        except ConsistencyError as error:
            assert error.code == "malformed_log"


@pytest.mark.parametrize("cut", [1, 32, 100])
def test_trade_data_cut_short_is_malformed(cut: int) -> None:
    data = trade_data(1, 1, True, False, 0, bytes(32), *[1] * 9, False)[:-cut]
    with pytest.raises(ConsistencyError, match="malformed_log"):
        decode_one(log("Trade", [TOKEN, ALICE, BOB], data))


def test_text_hostile_bytes_are_replaced_and_nul_is_dropped() -> None:
    data = bytearray(created(name="abcd").data)
    at = data.index(b"abcd")
    data[at : at + 4] = b"a\0\xffd"
    event = decode_one(log("TokenCreated", [TOKEN, ALICE], bytes(data)))
    assert event.name == "a\N{REPLACEMENT CHARACTER}d"


def test_text_offset_outside_is_malformed() -> None:
    data = bytearray(created().data)
    data[17 * 32 : 18 * 32] = word(2**255)
    with pytest.raises(ConsistencyError, match="malformed_log"):
        decode_one(log("TokenCreated", [TOKEN, ALICE], bytes(data)))


def test_foreign_addresses_are_dropped_before_decoding() -> None:
    strange = [
        log("Trade", [], b"nonsense", address=FOREIGN),
        log("Transfer", [ALICE, BOB, ALICE], b"", address=FOREIGN, log_index=1),
        RawLog(LAUNCHPAD, (), b"", 7, b"\x07" * 32, b"\x01" * 32, 0, 2, False),
        RawLog(LAUNCHPAD, (b"\x09" * 32,), b"", 7, b"\x07" * 32, b"\x01" * 32, 0, 3, False),
    ]
    assert Decoder(settings()).decode(strange, block_time=1) == ()


def test_mint_before_token_created_is_decoded() -> None:
    decoder = Decoder(settings())
    events = decoder.decode([transfer(log_index=0), created(log_index=1)], block_time=1)
    assert [type(event) for event in events] == [Transferred, TokenCreated]
    assert decoder.tokens == {TOKEN: 1}
    assert events[0].at.version == 1 and events[0].at.emitter == TOKEN


def test_transfer_of_a_token_not_ours_is_dropped() -> None:
    assert Decoder(settings()).decode([transfer()], block_time=1) == ()


def test_position_counts_all_logs_of_the_own_transaction() -> None:
    logs = [
        log("Transfer", [ALICE, BOB], word(1), address=FOREIGN, log_index=0),
        transfer(log_index=1),
        log("Transfer", [ALICE, BOB], word(1), address=FOREIGN, log_index=2, tx_hash=b"2" * 32),
        transfer(log_index=3, tx_hash=b"2" * 32, tx_index=1),
        transfer(log_index=4, tx_hash=b"2" * 32, tx_index=1),
    ]
    events = Decoder(settings(), {TOKEN: 1}).decode(list(reversed(logs)), block_time=5)
    assert [(e.at.tx_index, e.at.log_index, e.at.position) for e in events] == [
        (0, 1, 1),
        (1, 3, 1),
        (1, 4, 2),
    ]
    assert all(e.at.block_time == 5 and e.at.chain_id == settings().chain_id for e in events)


def test_repeated_and_removed_logs_are_left_out() -> None:
    logs = [transfer(), transfer(), transfer(log_index=1, removed=True)]
    assert len(Decoder(settings(), {TOKEN: 1}).decode(logs, block_time=1)) == 1


def test_small_events_read_their_fields() -> None:
    curve = decode_one(log("CurveAdded", [word(3)], b"".join(word(n) for n in (8, 1, 2, 3, 4, 5))))
    assert isinstance(curve, CurveAdded)
    assert (curve.event_seq, curve.curve_id) == (8, 3) and curve.curve == CurveNumbers(
        1, 2, 3, 4, 5
    )
    done = decode_one(log("Completed", [TOKEN], b"".join(word(n) for n in (9, 2, 3, 4))))
    assert isinstance(done, Completed)
    assert (done.event_seq, done.seq, done.token, done.sold, done.raised) == (9, 2, TOKEN, 3, 4)
    claim = decode_one(log("CreatorFeesClaimed", [ALICE, BOB], word(10) + word(11)))
    assert isinstance(claim, Administered)
    assert (claim.event_seq, claim.name) == (10, "CreatorFeesClaimed")
    assert claim.arguments == (
        ("creator", "0x" + ALICE.hex()),
        ("recipient", "0x" + BOB.hex()),
        ("amount", "11"),
    )
    fees = decode_one(log("FeesChanged", [], b"".join(word(n) for n in (11, 1, 2, 3, 4, 5, 6))))
    assert fees.arguments[0] == ("protocolBps", "1")


def test_raw_log_null_or_zero_block_hash_is_preconfirmed() -> None:
    json_log = {
        "address": "0x" + TOKEN.hex(),
        "topics": ["0x" + keccak(b"x").hex()],
        "data": "0x",
        "blockNumber": "0x10",
        "transactionHash": "0x" + "01" * 32,
        "transactionIndex": "0x2",
        "logIndex": "0x3",
    }
    for block_hash in (None, "0x" + "00" * 32):
        assert raw_log({**json_log, "blockHash": block_hash}).block_hash is None
    sealed = raw_log({**json_log, "blockHash": "0x" + "02" * 32})
    assert sealed.block_hash == b"\x02" * 32
    assert (sealed.block_number, sealed.tx_index, sealed.log_index) == (16, 2, 3)
    for name in ("blockNumber", "transactionIndex", "logIndex"):
        with pytest.raises(ValueError, match="from 0 on"):
            raw_log({**json_log, name: "-0x1"})
