"""Shreds as they are and were spelt, counted, and in whatever order they come."""

import copy
import random
from typing import Any

import pytest

from chain.shreds import ShredOrder, ShredReader, is_known
from engine.errors import TransientError


def tx(number: int, *logs: int, type_: Any = "0x2", **fields: Any) -> dict[str, Any]:
    return {
        "transaction": {
            "hash": f"0x{number:064x}",
            "signer": "0x" + "0a" * 20,
            "to": "0x" + "0b" * 20,
            "value": "0x0",
            "nonce": "0x1",
            "gas": "0x5208",
            "type": type_,
            "input": "0x",
        }
        | fields,
        "receipt": {
            "type": type_,
            "status": "0x1",
            "cumulativeGasUsed": "0x5208",
            "logs": [
                {"address": "0x" + "22" * 20, "topics": [f"0x{log:064x}"], "data": f"0x{log:02x}"}
                for log in logs
            ],
        },
    }


def shred(index: int, *txs: dict[str, Any], block: int = 7, first_log: int = 0) -> dict[str, Any]:
    return {
        "blockNumber": block,
        "shredIdx": index,
        "blockTimestamp": 1_700_000_000,
        "startingLogIndex": first_log,
        "transactions": list(txs),
    }


def deposit(*logs: int) -> dict[str, Any]:
    made = tx(0xDE, *logs, type_="0x7e")
    made["transaction"]["from"] = made["transaction"].pop("signer")
    return made


def test_shred_logs_are_placed_by_the_shred_and_hashless() -> None:
    reader = ShredReader()
    reader.read(shred(0, deposit()))
    read = reader.read(shred(1, tx(1, 10, 11), tx(2, 12), first_log=4))
    assert (read.block_number, read.index, read.timestamp) == (7, 1, 1_700_000_000)
    assert [log.log_index for log in read.logs] == [4, 5, 6]
    assert [log.tx_index for log in read.logs] == [1, 1, 2]
    assert [log.data for log in read.logs] == [b"\x0a", b"\x0b", b"\x0c"]
    assert {log.block_hash for log in read.logs} == {None}
    assert read.logs[0].tx_hash == bytes(31) + b"\x01" and read.logs[0].block_number == 7
    assert read.logs[0].topics == (bytes(31) + b"\x0a",) and not read.logs[0].removed
    assert read.transactions[0].sender == b"\x0a" * 20 and read.transactions[0].status == 1


@pytest.mark.parametrize("type_", ["0x7e", 0x7E])
def test_shred_deposit_logs_are_left_out_but_counted(type_: Any) -> None:
    made = deposit(1, 2)
    made["transaction"]["type"] = type_
    read = ShredReader().read(shred(0, made, tx(1, 3)))
    assert [(log.log_index, log.tx_index) for log in read.logs] == [(2, 1)]
    assert [one.type for one in read.transactions] == [0x7E, 2]


def test_shred_transaction_index_given_is_taken() -> None:
    read = ShredReader().read(shred(0, tx(1, 3, transactionIndex=5), tx(2, 4)))
    assert [log.tx_index for log in read.logs] == [5, 6]


def test_shred_repeated_counts_once_and_a_new_block_counts_anew() -> None:
    reader = ShredReader()
    first, second = shred(0, tx(1, 1), tx(2, 2)), shred(1, tx(3, 3), first_log=2)
    for _ in range(3):
        reader.read(first)
        assert [log.tx_index for log in reader.read(second).logs] == [2]
    assert [log.tx_index for log in reader.read(shred(0, tx(1, 1), block=8)).logs] == [0]


def old_spelling(payload: dict[str, Any]) -> dict[str, Any]:
    txs = copy.deepcopy(payload["transactions"])
    for one in txs:
        name = "Deposit" if one["receipt"]["type"] == "0x7e" else "Eip1559"
        one["receipt"] = {name: one["receipt"]}
    return {
        "block_number": payload["blockNumber"],
        "shred_idx": payload["shredIdx"],
        "block_timestamp": hex(payload["blockTimestamp"]),
        "starting_log_index": payload["startingLogIndex"],
        "transactions": txs,
    }


def test_shred_old_spelling_reads_the_same() -> None:
    new = shred(0, deposit(9), tx(1, 10, 11))
    assert ShredReader().read(old_spelling(new)) == ShredReader().read(new)


def broken(path: str, value: Any) -> dict[str, Any]:
    made = shred(1, tx(1, 10))
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at: Any = made
    for part in way:
        at = at[part]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("blockNumber", None),
        ("blockNumber", "7"),
        ("blockNumber", -1),
        ("blockNumber", True),
        ("shredIdx", 1.5),
        ("startingLogIndex", None),
        ("transactions", 5),
        ("transactions", [5]),
        ("transactions.0.transaction.hash", "123"),
        ("transactions.0.transaction.type", None),
        ("transactions.0.receipt", {"Eip9999": {"logs": []}}),
        ("transactions.0.receipt.logs", None),
        ("transactions.0.receipt.logs.0.data", "zz"),
        ("transactions.0.receipt.logs.0.topics", None),
    ],
)
def test_shred_strange_spelling_is_refused(path: str, value: Any) -> None:
    payload = broken(path, value)
    assert not is_known(payload)
    with pytest.raises(TransientError, match="shred as we know it"):
        ShredReader().read(payload)
    assert is_known(shred(1, tx(1, 10)))


def test_order_whole_blocks_are_new_block_and_next() -> None:
    order = ShredOrder()
    heard = [(5, 0), (5, 1), (5, 2), (6, 0), (7, 0), (7, 1)]
    places = [order.place(*one) for one in heard]
    assert places == ["new_block", "next", "next", "new_block", "new_block", "next"]


@pytest.mark.parametrize(
    ("heard", "place"),
    [
        ([(5, 1)], "gap"),  # joined in the middle
        ([(5, 0), (5, 2)], "gap"),
        ([(5, 0), (6, 1)], "gap"),
        ([(5, 0), (7, 0)], "gap"),  # block 6 had its deposit at least
        ([(5, 0), (5, 0)], "duplicate"),
        ([(5, 0), (5, 2), (5, 1)], "duplicate"),
        ([(5, 0), (6, 0), (5, 1)], "duplicate"),
        ([(5, 0), (5, 2), (5, 3)], "next"),
        ([(5, 1), (6, 0)], "new_block"),
    ],
)
def test_order_says_what_is_missing(heard: list[tuple[int, int]], place: str) -> None:
    order = ShredOrder()
    assert [order.place(*one) for one in heard][-1] == place


def test_order_after_reset_begins_anew() -> None:
    order = ShredOrder()
    order.place(9, 0)
    order.reset()
    assert order.place(8, 0) == "new_block"


def test_order_every_lost_shred_but_a_blocks_last_ones_is_seen() -> None:
    rng = random.Random(3)
    for _ in range(300):
        sizes = [rng.randrange(1, 6) for _ in range(4)]
        shreds = [(block, index) for block, size in enumerate(sizes) for index in range(size)]
        lost = rng.choice(shreds[1:-1])
        heard = [one for one in shreds if one != lost for _ in range(rng.choice([1, 1, 2]))]
        order = ShredOrder()
        gaps = [one for one in heard if order.place(*one) == "gap"]
        last_of_block = lost[1] == sizes[lost[0]] - 1
        if lost[1] == 0:  # the next thing heard is not a whole block's beginning
            assert gaps
        else:
            assert bool(gaps) is not last_of_block
