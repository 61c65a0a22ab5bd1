"""RISE's shreds: mini-blocks without a hash, named (block number, index in the block).

The one place that knows how a shred is spelt, which has changed three times:
  - today: camelCase, numbers as JSON integers, the receipt flat;
  - before: snake_case, the receipt inside its type's name (`{"Eip1559": {…}}`).
Quantities may be integers or hex. Anything else is a TransientError, and `is_known` says so
beforehand. A shred is the sequencer's unsigned word: nothing final may come of it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from chain.decode import RawLog
from curves.values import value
from engine.errors import TransientError

DEPOSIT_TYPE = 0x7E
"""Of the L1 deposit in shred 0, which is often not what is sealed: its logs are left out."""

Place = Literal["next", "duplicate", "gap", "new_block"]

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
_RECEIPTS = ("Legacy", "Eip2930", "Eip1559", "Eip7702", "Deposit")


@value
class ShredTransaction:
    """`index` is its place in the block, `status` 1 for success."""

    hash: bytes
    sender: bytes
    type: int
    status: int
    index: int


@value
class Shred:
    """`timestamp` in seconds; deposits stand in `transactions`, their logs nowhere."""

    block_number: int
    index: int
    timestamp: int
    logs: tuple[RawLog, ...]
    transactions: tuple[ShredTransaction, ...]


class ShredReader:
    """Reads one block's shreds after another: a transaction's index is counted from them."""

    def __init__(self) -> None:
        self._block = -1
        self._before: dict[int, int] = {}

    def read(self, payload: Mapping[str, Any]) -> Shred:
        """One shred. After a lost one, indices that are not given are too low.

        Raises TransientError("stale_chain"): not a shred as we know it.
        """
        try:
            return self._read(payload)
        except _MALFORMED as error:
            raise _unknown(payload) from error

    def _read(self, payload: Mapping[str, Any]) -> Shred:
        number = _number(_field(payload, "blockNumber"))
        index = _number(_field(payload, "shredIdx"))
        log_index = _number(_field(payload, "startingLogIndex"))
        tx_index = self._counted(number, index)
        logs: list[RawLog] = []
        transactions: list[ShredTransaction] = []
        for pair in payload["transactions"]:
            transaction, told = _transaction(pair, tx_index), _receipt(pair)["logs"]
            transactions.append(transaction)
            if transaction.type != DEPOSIT_TYPE:
                # A log has no index of its own: its place in the shred is all there is.
                places = enumerate(told, log_index)
                logs += [_log(one, index=at, block=number, of=transaction) for at, one in places]
            log_index, tx_index = log_index + len(told), transaction.index + 1
        self._before[index + 1] = tx_index
        timestamp = _number(_field(payload, "blockTimestamp"))
        return Shred(number, index, timestamp, tuple(logs), tuple(transactions))

    def _counted(self, number: int, index: int) -> int:
        if number != self._block:
            self._block, self._before = number, {0: 0}
        known = self._before.get(index)
        return max(self._before.values()) if known is None else known


class ShredOrder:
    """Where each shred of one connection stands, in this order of cases:

    1. duplicate: it, or a later one, was heard already; nothing is to be done;
    2. next: the one after the last of its block;
    3. new_block: shred 0 of the block after the last one heard, or of the very first;
    4. gap: one or more before it are missing: what is known of this block, or of blocks
       before it, is not whole until they are sealed.
    A block whose last shreds are lost looks like a whole one: only its seal tells.
    """

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None

    def place(self, block_number: int, index: int) -> Place:
        """Judge a shred, and remember it."""
        last, here = self._last, (block_number, index)
        if last is not None and here <= last:
            return "duplicate"
        self._last = here
        if last is not None and here == (last[0], last[1] + 1):
            return "next"
        if index == 0 and (last is None or block_number == last[0] + 1):
            return "new_block"
        return "gap"

    def reset(self) -> None:
        """After a reorg, when numbers begin again lower."""
        self._last = None


def is_known(payload: Mapping[str, Any]) -> bool:
    """Whether a shred can be read."""
    try:
        ShredReader().read(payload)
    except TransientError:
        return False
    return True


def has_logs(payload: Mapping[str, Any]) -> bool:
    """Whether a shred that can be read names logs other than a deposit's."""
    return bool(ShredReader().read(payload).logs)


_OLD_NAMES = {
    "blockNumber": "block_number",
    "shredIdx": "shred_idx",
    "blockTimestamp": "block_timestamp",
    "startingLogIndex": "starting_log_index",
}


def _field(payload: Mapping[str, Any], name: str) -> Any:
    return payload[name] if name in payload else payload[_OLD_NAMES[name]]


def _number(value: Any) -> int:
    if isinstance(value, str) and value.startswith("0x"):
        return int(value, 16)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(f"Expected a number, was {value!r}")


def _bytes(value: str) -> bytes:
    if not value.startswith("0x"):
        raise ValueError(f"Expected hex, was {value!r}")
    return bytes.fromhex(value[2:])


def _receipt(pair: Mapping[str, Any]) -> Mapping[str, Any]:
    receipt: Mapping[str, Any] = pair["receipt"]
    for name in _RECEIPTS:
        if name in receipt:
            inner: Mapping[str, Any] = receipt[name]
            return inner
    return receipt


def _transaction(pair: Mapping[str, Any], counted: int) -> ShredTransaction:
    transaction, receipt = pair["transaction"], _receipt(pair)
    given = transaction.get("transactionIndex")
    sender = transaction.get("signer") or transaction.get("from")
    return ShredTransaction(
        hash=_bytes(transaction["hash"]),
        sender=_bytes(sender) if sender else b"",
        type=DEPOSIT_TYPE if "Deposit" in pair["receipt"] else _number(transaction["type"]),
        status=_number(receipt["status"]),
        index=counted if given is None else _number(given),
    )


def _log(json: Mapping[str, Any], *, index: int, block: int, of: ShredTransaction) -> RawLog:
    return RawLog(
        address=_bytes(json["address"]),
        topics=tuple([_bytes(topic) for topic in json["topics"]]),
        data=_bytes(json["data"]),
        block_number=block,
        block_hash=None,
        tx_hash=of.hash,
        tx_index=of.index,
        log_index=index,
        removed=False,
    )


def _unknown(payload: Mapping[str, Any]) -> TransientError:
    return TransientError("stale_chain", f"Expected a shred as we know it, was {payload!r:.300}")
