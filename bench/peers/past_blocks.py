"""A block of the past as bytes made beforehand: to tell it again costs next to nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from chain.decode import TOPICS
from tests.support.rpc_faults import Json
from tests.support.rpc_sockets import matches
from tests.support.shredding import OpenBlock, head_of

HEADS, LOGS, SHREDS = "newHeads", "logs", "shreds"
SUBSCRIPTIONS = {HEADS: "0x1", LOGS: "0x2", SHREDS: "0x3"}
"""One name a kind, so that a frame is the same bytes for every connection."""

LOG_FILTER = {"topics": [list(TOPICS)]}
"""The one that the frames were made for."""


@dataclass(frozen=True, slots=True)
class Shred:
    """Its own frame, and those of its logs without a block hash."""

    frame: bytes
    logs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PastBlock:
    """`answers` are results as JSON, by method; frames of `sealed_logs` pass LOG_FILTER."""

    number: int
    hash: str
    is_quiet: bool
    answers: dict[str, bytes]
    logs: tuple[Json, ...]
    receipts: dict[str, bytes]
    head: bytes
    sealed_logs: tuple[bytes, ...]
    shreds: tuple[Shred, ...]


def past_block(json: Json, receipts: Sequence[Json], *, txs_per_shred: int) -> PastBlock:
    """Of a block with full transactions, and its receipts."""
    logs = [log for receipt in receipts for log in receipt["logs"]]
    hashes = json | {"transactions": [one["hash"] for one in json["transactions"]]}
    open_block = OpenBlock(json, receipts)
    shreds = [
        Shred(_frame(SHREDS, shred), _log_frames(open_block.reach(shred)))
        for shred in open_block.shreds(txs_per_shred)
    ]
    return PastBlock(
        number=int(json["number"], 16),
        hash=json["hash"],
        is_quiet=not receipts,
        answers={
            "header": orjson.dumps(hashes),
            "block": orjson.dumps(json),
            "receipts": orjson.dumps(receipts),
            "logs": orjson.dumps(logs),
        },
        logs=tuple(logs),
        receipts={one["transactionHash"]: orjson.dumps(one) for one in receipts},
        head=_frame(HEADS, head_of(hashes)),
        sealed_logs=_log_frames(logs),
        shreds=tuple(shreds),
    )


def answer(id: Any, result: bytes) -> bytes:
    """A reply to a call, whose result is JSON already."""
    return b'{"jsonrpc":"2.0","id":' + json.dumps(id).encode() + b',"result":' + result + b"}"


def _log_frames(logs: Sequence[Json]) -> tuple[bytes, ...]:
    return tuple(_frame(LOGS, log) for log in logs if matches(LOG_FILTER, log))


def _frame(kind: str, result: Json) -> bytes:
    params = {"subscription": SUBSCRIPTIONS[kind], "result": result}
    return orjson.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})
