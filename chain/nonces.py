"""An account's next nonce by each of several endpoints, so that none is believed alone."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence

from chain.sender import Node
from engine.errors import RiseCurveError


class AccountNonces:
    """Any account's, on one chain. Nothing is raised: an endpoint without a whole number for an
    answer is left out."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes

    @property
    def endpoints(self) -> int:
        """How many are asked."""
        return len(self._nodes)

    async def latest(self, address: bytes) -> list[int]:
        """Counting what is in blocks only."""
        return await _numbers(node.nonce(address, mined=True) for node in self._nodes)

    async def at(self, address: bytes, block: int) -> list[int]:
        """After block `block`."""
        return await _numbers(node.nonce_at(address, block) for node in self._nodes)


async def _numbers(asked: Iterable[Awaitable[int]]) -> list[int]:
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found: list[int] = []
    for one in answers:
        if isinstance(one, int):
            found.append(one)
        elif not isinstance(one, RiseCurveError | ValueError | TypeError):
            raise one
    return found
