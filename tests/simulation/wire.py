"""The model's logs as the bytes that a node gives, with blooms and roots that are true."""

import hashlib
from functools import cache
from typing import Any

from eth_abi.abi import encode

from chain.bloom import bloom_of
from chain.decode import SIGNATURES, TOPIC_OF, raw_log
from engine.messages import FAMILY_CONSTANT_PRODUCT
from engine.settings import ChainSettings, Deployment
from tests.model.launchpad import DEAD, PAD, ZERO, Log
from tests.support.chain_settings import LAUNCHPAD, settings
from tests.support.roots import root_of

Json = dict[str, Any]

WETH = b"\x80" + bytes(19)
"""In the middle of all addresses, so that tokens stand on both sides of it."""

VERSION = 2
_TRADE = ("requested", "tokens", "curve_eth", "protocol_fee", "creator_fee", "launch_fee")
assert SIGNATURES["Sync"]


def chain_settings(**fields: Any) -> ChainSettings:
    """One launchpad of version 2 from block 1."""
    pad = Deployment(address=LAUNCHPAD, lens=bytes(20), first_block=1, version=VERSION)
    return settings(launchpads=(pad,), weth=WETH, **fields)


@cache
def address(name: str) -> bytes:
    known = {PAD: LAUNCHPAD, ZERO: bytes(20), DEAD: bytes(18) + b"\xde\xad", "weth": WETH}
    return known.get(name) or hashlib.sha256(name.encode()).digest()[:20]


def hexed(raw: bytes) -> str:
    return "0x" + raw.hex()


def topics_and_data(log: Log) -> tuple[list[bytes], bytes]:  # noqa: PLR0911
    """Topics beside the first, and the data, of one log."""
    _, name, fields = log
    if name == "Transfer":
        indexed = [fields["sender"], fields["recipient"]]
        return [_padded(one) for one in indexed], _words(fields["amount"])
    if name == "Sync":
        return [], _words(*_sorted(fields["token"], *fields["reserves"]))
    if name == "Swap":
        return _swap(fields)
    numbers, token = (fields["event_seq"], fields["seq"]), _padded(fields["token"])
    if name == "TokenCreated":
        return [token, _padded(fields["creator"])], _created(fields)
    if name == "Trade":
        return _trade(fields)
    if name == "Completed":
        return [token], _words(*numbers, fields["sold"], fields["raised"])
    if name == "Reopened":
        return [token], _words(*numbers)
    assert name == "Graduated", name
    amounts = (fields["eth"], fields["tokens"], fields["burned"], 7, fields["donated"])
    pair = _padded(fields["pair"])
    return [token, pair], _words(*numbers, *amounts, *fields["reserves"])


def receipt(logs: list[Log], *, tx_hash: bytes, index: int, first: int, number: int) -> Json:
    """The receipt of a transaction whose logs begin at log index `first`; its block's hash is
    not known yet.
    """
    made = []
    for offset, log in enumerate(logs):
        topics, data = topics_and_data(log)
        topics.insert(0, TOPIC_OF[log[1]])
        made.append(
            {
                "address": hexed(address(log[0])),
                "topics": [hexed(topic) for topic in topics],
                "data": hexed(data),
                "blockNumber": hex(number),
                "blockHash": None,
                "transactionHash": hexed(tx_hash),
                "transactionIndex": hex(index),
                "logIndex": hex(first + offset),
                "removed": False,
            }
        )
    return {
        "transactionHash": hexed(tx_hash),
        "transactionIndex": hex(index),
        "type": "0x2",
        "status": "0x1",
        "cumulativeGasUsed": hex(21_000 * (index + 1)),
        "logsBloom": _bloom(made),
        "logs": made,
        "blockHash": None,
    }


def header(receipts: list[Json], *, number: int, parent: bytes, time: int, salt: str) -> Json:
    """A block's header; every receipt and log of it gets its hash."""
    root = root_of(receipts)
    seed = parent + root + number.to_bytes(8, "big") + salt.encode()
    block_hash = hexed(hashlib.sha256(seed).digest())
    for one in receipts:
        one["blockHash"] = block_hash
        for log in one["logs"]:
            log["blockHash"] = block_hash
    return {
        "number": hex(number),
        "hash": block_hash,
        "parentHash": hexed(parent),
        "timestamp": hex(time),
        "logsBloom": _bloom([log for one in receipts for log in one["logs"]]),
        "receiptsRoot": hexed(root),
        "transactions": [one["transactionHash"] for one in receipts],
    }


def _bloom(logs: list[Json]) -> str:
    return "0x" + bloom_of(raw_log(log) for log in logs).to_bytes(256, "big").hex()


def _padded(name: str) -> bytes:
    return bytes(12) + address(name)


def _words(*numbers: int) -> bytes:
    return b"".join(int(number).to_bytes(32, "big") for number in numbers)


def _sorted(token: str, tokens: int, weth: int) -> tuple[int, int]:
    return (tokens, weth) if address(token) < WETH else (weth, tokens)


def _swap(fields: Json) -> tuple[list[bytes], bytes]:
    tokens, eth = fields["tokens"], fields["eth"]
    came, went = ((0, eth), (tokens, 0)) if fields["is_buy"] else ((tokens, 0), (0, eth))
    token = fields["token"]
    data = _words(*_sorted(token, *came), *_sorted(token, *went))
    to = fields["trader"] if fields["is_buy"] else fields["sender"]
    return [_padded(fields["sender"]), _padded(to)], data


def _trade(fields: Json) -> tuple[list[bytes], bytes]:
    trader = _padded(fields["trader"])
    amounts = [fields[name] for name in _TRADE]
    data = _words(
        fields["event_seq"], fields["seq"], fields["is_buy"], fields["exact_out"],
        fields["venue"], 0, *amounts, fields["refund"], fields["sold"], fields["raised"],
        fields["clipped"],
    )  # fmt: skip
    return [_padded(fields["token"]), trader, trader], data


def _created(fields: Json) -> bytes:
    config, fees = fields["config"], fields["fees"]
    assert FAMILY_CONSTANT_PRODUCT == 0
    kinds = ["uint256", "uint256", "address", "bool", "uint256"]
    kinds += ["(uint8,uint128,uint128,uint128,uint128)"]
    kinds += ["(uint16,uint16,uint16,uint16,uint16,uint16)", "bytes32", "string", "string"]
    values = [fields["event_seq"], fields["seq"], address(fields["pair"]), False]
    values += [config.family, tuple(config), tuple(fees), bytes(32), fields["token"], "SIM"]
    return encode(kinds, values)
