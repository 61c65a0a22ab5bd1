"""The proof that a block's receipts, and by them its logs, are all there and true.

A header holds the root of a Merkle-Patricia trie over its receipts, so receipts that make
the same root are the block's. Known are Ethereum's types 0 to 4 and the OP stack's deposit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eth_hash.auto import keccak

from chain import rlp

DEPOSIT_TYPE = 0x7E
_KNOWN_TYPES = (0, 1, 2, 3, 4, DEPOSIT_TYPE)

_Pairs = list[tuple[bytes, bytes]]
"""Keys as nibbles, one a byte, with their values."""


def root_of(receipts: Sequence[Mapping[str, Any]]) -> bytes:
    """The receipts root of a block, from the JSON of all its receipts in any order.

    Raises ValueError, KeyError, TypeError or AttributeError: a receipt of another kind.
    """
    ordered = sorted(receipts, key=lambda receipt: int(receipt["transactionIndex"], 16))
    pairs = [(_nibbles(index), _encoded(receipt)) for index, receipt in enumerate(ordered)]
    if not pairs:
        return keccak(rlp.encode(b""))
    return keccak(rlp.encode(_node(sorted(pairs), 0)))


def _encoded(receipt: Mapping[str, Any]) -> bytes:
    kind = int(receipt["type"], 16)
    if kind not in _KNOWN_TYPES:
        raise ValueError(f"Expected a receipt of a known type, was {kind}")
    fields: list[object] = [
        _quantity(receipt["status"]),
        _quantity(receipt["cumulativeGasUsed"]),
        _bytes(receipt["logsBloom"]),
        [
            [_bytes(log["address"]), [_bytes(one) for one in log["topics"]], _bytes(log["data"])]
            for log in receipt["logs"]
        ],
    ]
    if kind == DEPOSIT_TYPE:
        names = ("depositNonce", "depositReceiptVersion")
        fields += [_quantity(receipt[name]) for name in names if receipt.get(name) is not None]
    body = rlp.encode(fields)
    return bytes([kind]) + body if kind else body


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _quantity(value: str) -> bytes:
    return rlp.of_int(int(value, 16))


def _nibbles(index: int) -> bytes:
    key = rlp.encode(rlp.of_int(index))
    return bytes(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _node(pairs: _Pairs, depth: int) -> list[object]:
    # Sorted, so what the first and the last share is shared by all.
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return [_path(first[depth:], leaf=True), pairs[0][1]]
    shared = depth
    while first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_path(first[depth:shared], leaf=False), _reference(_node(pairs, shared))]
    # No key is another's beginning, so no branch has a value of its own.
    branch: list[object] = [b""] * 17
    for nibble in {key[depth] for key, _ in pairs}:
        below = [pair for pair in pairs if pair[0][depth] == nibble]
        branch[nibble] = _reference(_node(below, depth + 1))
    return branch


def _reference(node: list[object]) -> object:
    encoded = rlp.encode(node)
    return node if len(encoded) < 32 else keccak(encoded)


def _path(nibbles: bytes, *, leaf: bool) -> bytes:
    odd = len(nibbles) % 2
    flag = 2 * leaf + odd
    padded = bytes([flag]) + nibbles if odd else bytes([flag, 0]) + nibbles
    return bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))
