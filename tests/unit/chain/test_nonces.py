"""What several endpoints say of a nonce: who does not answer, or stands still, is left out."""

from dataclasses import dataclass
from typing import Any

from chain.nonces import STILL_S_MAX, AccountNonces
from engine.errors import TransientError

ADDRESS = b"\x01" * 20


@dataclass
class Node:
    said: Any
    block: int = 1

    async def nonce(self, address: bytes, *, mined: bool) -> int:
        assert address == ADDRESS and mined
        return self._told()

    async def nonce_at(self, address: bytes, block: int) -> int:
        assert address == ADDRESS and block == 7
        return self._told()

    async def head(self) -> int:
        return self.block

    def _told(self) -> int:
        if isinstance(self.said, Exception):
            raise self.said
        return int(self.said)


def asking(*nodes: Node) -> tuple[AccountNonces, list[float]]:
    now, given = [0.0], list(nodes)
    any_nodes: Any = given
    return AccountNonces(any_nodes, clock=lambda: now[0]), now


async def test_endpoint_without_a_number_is_left_out() -> None:
    nonces, _ = asking(Node(5), Node(TransientError("stale_chain", "away")), Node("zz"), Node(6))
    assert nonces.endpoints == 4
    assert await nonces.latest(ADDRESS) == [5, 6]
    assert await nonces.at(ADDRESS, 7) == [5, 6]


async def test_endpoint_that_stands_still_while_another_moves_is_left_out_until_it_moves() -> None:
    frozen, moving = Node(5), Node(6)
    nonces, now = asking(frozen, moving)
    for now[0] in (0.0, STILL_S_MAX, STILL_S_MAX + 1):
        moving.block += 1
        said = await nonces.latest(ADDRESS)
    assert said == [6]
    frozen.block = 9
    assert await nonces.latest(ADDRESS) == [5, 6]


async def test_chain_that_stands_still_leaves_nobody_out() -> None:
    nonces, now = asking(Node(5), Node(5))
    for now[0] in (0.0, STILL_S_MAX + 1):
        said = await nonces.latest(ADDRESS)
    assert said == [5, 5]
