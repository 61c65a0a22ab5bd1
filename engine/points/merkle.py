"""Merkle trees in the layout of OpenZeppelin's StandardMerkleTree, so that its library and
`MerkleProof.sol` check our proofs: leaves are hashed twice, sorted, and pairs are hashed in
order of size.
"""

from collections.abc import Callable, Sequence

from eth_abi.abi import encode
from eth_hash.auto import keccak

LEAF = ("address", "uint256", "bytes32")
"""Wallet, millionths of points, hash of all its rows in order."""


def leaf(who: bytes, micro: int, chain: bytes) -> bytes:
    """The hash of one wallet's line."""
    return keccak(keccak(encode(LEAF, ["0x" + who.hex(), micro, chain])))


def chained(before: bytes, row: bytes) -> bytes:
    """The hash of all rows of a wallet once `row` (canonical JSON) is added."""
    return keccak(before + keccak(row))


def tree(leaves: Sequence[bytes]) -> list[bytes]:
    """All nodes, the root first. `leaves` in any order; none: no nodes."""
    if not leaves:
        return []
    ordered = sorted(leaves)
    nodes = [b""] * (len(ordered) - 1) + ordered[::-1]
    for place in range(len(ordered) - 2, -1, -1):
        nodes[place] = _pair(nodes[2 * place + 1], nodes[2 * place + 2])
    return nodes


def siblings(place: int) -> list[int]:
    """The places of the nodes that prove the one at `place`, from the leaf up."""
    found = []
    while place > 0:
        found.append(place + 1 if place % 2 else place - 1)
        place = (place - 1) // 2
    return found


def proof(place: int, node: Callable[[int], bytes]) -> list[bytes]:
    """Of the leaf at `place` of a tree."""
    return [node(one) for one in siblings(place)]


def holds(root: bytes, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """As `MerkleProof.verify`."""
    found = leaf
    for one in proof:
        found = _pair(found, one)
    return found == root


def _pair(one: bytes, other: bytes) -> bytes:
    return keccak(min(one, other) + max(one, other))
