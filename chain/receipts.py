"""The proof that a block's receipts, and by them its logs, are all there and true.

A header holds the root of a Merkle-Patricia trie over its receipts, so receipts that make
the same root are the block's. Known are Ethereum's types 0 to 4 and the OP stack's deposit.

The root holds of a log its address, topics and data, and the order. Where it stands is told
beside it, and there is one true way to tell it: see `Places`. Only the transactions' hashes
are held by neither; the transactions root is what would prove them.
"""

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Protocol

from eth_hash.auto import keccak

from chain import rlp

DEPOSIT_TYPE = 0x7E
_KNOWN_TYPES = (0, 1, 2, 3, 4, DEPOSIT_TYPE)
STEP = 64
"""Receipts between two breaths: a few milliseconds of work."""

Steps = Generator[None, None, bytes]
_ADDRESS, _TOPIC = b"\x94", b"\xa0"
"""What stands before 20 bytes, and before 32."""

_TOPIC_SIZE = frozenset({32})

_Pairs = list[tuple[bytes, bytes]]
"""Keys as nibbles, one a byte, with their values."""


class Log(Protocol):
    """What a receipt holds of a log."""

    @property
    def address(self) -> bytes: ...
    @property
    def topics(self) -> Sequence[bytes]: ...
    @property
    def data(self) -> bytes: ...


class PlacedLog(Log, Protocol):
    """A log with what is told beside it."""

    @property
    def block_number(self) -> int: ...
    @property
    def block_hash(self) -> bytes | None: ...
    @property
    def tx_hash(self) -> bytes: ...
    @property
    def tx_index(self) -> int: ...
    @property
    def log_index(self) -> int: ...
    @property
    def removed(self) -> bool: ...


class Places:
    """Where the logs of a block's receipts must stand, as these are taken in order: counted
    through the block, in their receipt's transaction, and in this block.
    """

    def __init__(self, number: int, block_hash: bytes) -> None:
        self._block = number, block_hash
        self._hashes: dict[str, None] = {}
        self._logs = 0

    def take(self, receipt: Mapping[str, Any], logs: Iterable[PlacedLog]) -> None:
        """The next receipt. Raises ValueError, KeyError, TypeError or AttributeError: it, or a
        log of it, stands elsewhere.
        """
        at, told = len(self._hashes), receipt["transactionHash"].lower()
        tx_hash = bytes.fromhex(told[2:])
        if int(receipt["transactionIndex"], 16) != at or len(tx_hash) != 32:
            raise ValueError(f"Expected transaction {at}, was {receipt['transactionIndex']!r:.80}")
        self._hashes[told] = None
        if len(self._hashes) == at:
            raise ValueError(f"Expected each transaction once, was {told} twice")
        number, block_hash = self._block
        for log in logs:
            found = log.block_number, log.block_hash, log.tx_hash, log.tx_index, log.log_index
            if found != (number, block_hash, tx_hash, at, self._logs) or log.removed:
                was = f"{log.log_index} in {log.tx_index} of block {log.block_number}"
                raise ValueError(f"Expected log {self._logs} in transaction {at}, was {was:.200}")
            self._logs += 1

    @property
    def transactions(self) -> bytes:
        """See `digest_of`."""
        return digest_of(self._hashes)


def digest_of(tx_hashes: Iterable[str]) -> bytes:
    """What a list of transactions is compared by. Raises TypeError: it is not one of hashes."""
    return hashlib.sha256("".join(tx_hashes).lower().encode()).digest()


def in_order(receipts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By their place in the block. Raises what `encoded` does."""
    return sorted(receipts, key=lambda receipt: int(receipt["transactionIndex"], 16))


def encoded(receipt: Mapping[str, Any], logs: Iterable[Log]) -> bytes:
    """A receipt as the trie has it, with its logs as they were decoded.

    Raises ValueError, KeyError, TypeError or AttributeError: a receipt of another kind.
    """
    kind = int(receipt["type"], 16)
    if kind not in _KNOWN_TYPES:
        raise ValueError(f"Expected a receipt of a known type, was {kind}")
    parts = [
        rlp.encode(_quantity(receipt["status"])),
        rlp.encode(_quantity(receipt["cumulativeGasUsed"])),
        rlp.encode(bytes.fromhex(receipt["logsBloom"][2:])),
        rlp.listed([_log(log) for log in logs]),
    ]
    if kind == DEPOSIT_TYPE:
        names = ("depositNonce", "depositReceiptVersion")
        given = [receipt[name] for name in names if receipt.get(name) is not None]
        parts += [rlp.encode(_quantity(one)) for one in given]
    body = rlp.listed(parts)
    return bytes([kind]) + body if kind else body


def root_of(receipts: Sequence[bytes]) -> bytes:
    """The receipts root of a block, from all its encoded receipts in order."""
    steps = root_steps(receipts)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bytes(end.value)


def root_steps(receipts: Sequence[bytes]) -> Steps:
    """`root_of` with a breath after every STEP receipts; the generator's value is the root."""
    if not receipts:
        return keccak(rlp.encode(b""))
    pairs = sorted((_nibbles(index), receipt) for index, receipt in enumerate(receipts))
    node = yield from _node(pairs, 0)
    return keccak(node)


def _log(log: Log) -> bytes:
    # Of each field its own length: else another cut of the same bytes would make the same root.
    if len(log.address) != 20 or not _TOPIC_SIZE.issuperset(map(len, log.topics)):
        raise ValueError("Expected an address of 20 bytes and topics of 32")
    topics = rlp.listed([_TOPIC + topic for topic in log.topics])
    return rlp.listed((_ADDRESS, log.address, topics, rlp.encode(log.data)))


def _quantity(value: str) -> bytes:
    found = int(value, 16)
    if found < 0:
        raise ValueError(f"Expected a number from 0 on, was {value:.80}")
    return rlp.of_int(found)


def _nibbles(index: int) -> bytes:
    return bytes.fromhex("0" + "0".join(rlp.encode(rlp.of_int(index)).hex()))


def _node(pairs: _Pairs, depth: int) -> Steps:
    # Sorted, so what the first and the last share is shared by all. Its value is the node, encoded.
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return rlp.listed((rlp.encode(_path(first[depth:], leaf=True)), rlp.encode(pairs[0][1])))
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        below = yield from _node(pairs, shared)
        path = _path(first[depth:shared], leaf=False)
        return rlp.listed((rlp.encode(path), _reference(below)))
    # No key is another's beginning, so no branch has a value of its own.
    branch = [rlp.EMPTY] * 17
    groups: dict[int, _Pairs] = {}
    for pair in pairs:
        groups.setdefault(pair[0][depth], []).append(pair)
    for nibble, group in groups.items():
        below = yield from _node(group, depth + 1)
        branch[nibble] = _reference(below)
    if len(pairs) >= STEP:
        yield
    return rlp.listed(branch)


def _reference(node: bytes) -> bytes:
    return node if len(node) < 32 else rlp.encode(keccak(node))


def _path(nibbles: bytes, *, leaf: bool) -> bytes:
    odd = len(nibbles) % 2
    flag = 2 * leaf + odd
    padded = bytes([flag]) + nibbles if odd else bytes([flag, 0]) + nibbles
    return bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))
