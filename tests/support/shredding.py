"""One mined block told transaction by transaction, as RISE tells an open one.

Numbers are JSON integers where RISE has them so, its other quantities hex. The deposit of
shred 0 is made up: anvil's blocks have none. So each transaction names its
`transactionIndex`, which RISE leaves to be counted.
"""

import copy
import random
import secrets
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

ZERO_HASH = "0x" + "00" * 32
_NOT_IN_A_HEAD = ("transactions", "uncles", "withdrawals", "size", "totalDifficulty")
_TOLD = ("hash", "to", "value", "nonce", "gas", "type", "input")


def head_of(block: Json) -> Json:
    """A block as newHeads pushes it."""
    return {name: value for name, value in block.items() if name not in _NOT_IN_A_HEAD}


class OpenBlock:
    """`json` with full transactions; what is preconfirmed may be made to differ from it."""

    def __init__(self, json: Json, receipts: Sequence[Json]) -> None:
        self.number = int(json["number"], 16)
        self._timestamp = int(json["timestamp"], 16)
        self._pairs = list(
            zip(copy.deepcopy(json["transactions"]), copy.deepcopy(list(receipts)), strict=True)
        )
        self.receipts: dict[str, Json] = {}
        """Of what was shown so far, by hash: the block hash is zero."""

    # ------------------------------------------------------------------------- lies

    def borrow(self, pair: tuple[Json, Json] | None) -> list[str]:
        """Show this transaction of a later block under a hash that never comes."""
        if pair is None:
            return []
        transaction, receipt = copy.deepcopy(pair)
        transaction["hash"] = receipt["transactionHash"] = "0x" + secrets.token_hex(32)
        self._pairs.append((transaction, receipt))
        return [transaction["hash"]]

    def swap(self, rng: random.Random) -> list[str]:
        """Show two neighbours the other way round."""
        places = [
            at
            for at in range(len(self._pairs) - 1)
            if self._pairs[at][1]["logs"] and self._pairs[at + 1][1]["logs"]
        ]
        if not places:
            return []
        at = rng.choice(places)
        self._pairs[at : at + 2] = reversed(self._pairs[at : at + 2])
        return [pair[0]["hash"] for pair in self._pairs[at : at + 2]]

    def change(self, rng: random.Random) -> list[str]:
        """Show a transaction whose last log has other data: one bit of its middle word."""
        found = [pair for pair in self._pairs if any(log["data"] != "0x" for log in _logs(pair))]
        if not found:
            return []
        transaction, receipt = rng.choice(found)
        log = [log for log in receipt["logs"] if log["data"] != "0x"][-1]
        data = bytearray.fromhex(log["data"][2:])
        data[min(len(data) // 64 * 32 + 31, len(data) - 1)] ^= 1
        log["data"] = "0x" + data.hex()
        return [transaction["hash"]]

    # ----------------------------------------------------------------------- telling

    def shreds(self, txs_per_shred: int) -> list[Json]:
        """All shreds in order, the deposit's first."""
        groups: list[list[tuple[Json, Json]]] = [[_deposit(self.number)]]
        for at in range(0, len(self._pairs), txs_per_shred):
            groups.append(self._pairs[at : at + txs_per_shred])
        shreds, logs, transactions = [], 0, 0
        for index, pairs in enumerate(groups):
            told = []
            for transaction, receipt in pairs:
                told.append(_told(transaction, receipt, transactions if index else None))
                transactions += bool(index)
            shred = {
                "blockNumber": self.number,
                "shredIdx": index,
                "blockTimestamp": self._timestamp,
                "startingLogIndex": logs,
                "transactions": told,
            }
            shreds.append(shred)
            logs += sum(len(receipt["logs"]) for _, receipt in pairs)
        return shreds

    def reach(self, shred: Json) -> list[Json]:
        """This shred is out: its logs without a block hash; `receipts` has its receipts."""
        pushed: list[Json] = []
        index = shred["startingLogIndex"]
        for one in shred["transactions"]:
            transaction = one["transaction"]
            if "transactionIndex" not in transaction:
                continue
            logs = []
            for log in one["receipt"]["logs"]:
                place = {
                    "blockHash": None,
                    "blockNumber": hex(self.number),
                    "blockTimestamp": hex(self._timestamp),
                    "transactionHash": transaction["hash"],
                    "transactionIndex": hex(transaction["transactionIndex"]),
                    "logIndex": hex(index),
                    "removed": False,
                }
                logs.append(log | place)
                index += 1
            pushed += logs
            whole = next(r for t, r in self._pairs if t["hash"] == transaction["hash"])
            self.receipts[transaction["hash"]] = whole | {
                "blockHash": ZERO_HASH,
                "blockNumber": hex(self.number),
                "transactionIndex": hex(transaction["transactionIndex"]),
                "logs": [log | {"blockHash": ZERO_HASH} for log in logs],
            }
        return pushed


def _logs(pair: tuple[Json, Json]) -> list[Json]:
    return list(pair[1]["logs"])


def _told(transaction: Json, receipt: Json, index: int | None) -> Json:
    logs = [{name: log[name] for name in ("address", "topics", "data")} for log in receipt["logs"]]
    told = {name: transaction.get(name) for name in _TOLD}
    if index is None:
        told["from"] = transaction["from"]
    else:
        told |= {"signer": transaction["from"], "transactionIndex": index}
    return {
        "transaction": told,
        "receipt": {
            "type": receipt["type"],
            "status": receipt["status"],
            "cumulativeGasUsed": receipt["cumulativeGasUsed"],
            "logs": logs,
        },
    }


def _deposit(number: int) -> tuple[Json, Json]:
    transaction = {
        "hash": f"0x7e{number:062x}",
        "from": "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001",
        "to": "0x4200000000000000000000000000000000000015",
        "value": "0x0",
        "nonce": hex(number),
        "gas": "0xf4240",
        "type": "0x7e",
        "input": "0x",
    }
    receipt = {"type": "0x7e", "status": "0x1", "cumulativeGasUsed": "0xb44c", "logs": []}
    return transaction, receipt
