"""An account's next nonce by each of several endpoints, so that none is believed alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from chain.sender import Node
from engine.errors import RiseCurveError

STILL_S_MAX = 30.0
"""A head that did not move for so long, while another's did, is a frozen node's: what it says of a
nonce would hold up the others for ever."""


class AccountNonces:
    """Any account's, on one chain. Nothing is raised: an endpoint without a whole number for an
    answer is left out, and one that stands still."""

    def __init__(
        self, nodes: Sequence[Node], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._heads = [(-1, clock())] * len(nodes)

    @property
    def endpoints(self) -> int:
        """How many are asked."""
        return len(self._nodes)

    async def latest(self, address: bytes) -> list[int]:
        """Counting what is in blocks only."""
        said, heads = await asyncio.gather(
            _numbers(node.nonce(address, mined=True) for node in self._nodes),
            _numbers(node.head() for node in self._nodes),
        )
        now = self._clock()
        for at, head in enumerate(heads):
            if head is not None and head != self._heads[at][0]:
                self._heads[at] = head, now
        moves = [now - since <= STILL_S_MAX for _, since in self._heads]
        return [
            one
            for one, moved in zip(said, moves, strict=True)
            if one is not None and (moved or not any(moves))
        ]

    async def at(self, address: bytes, block: int) -> list[int]:
        """After block `block`."""
        said = await _numbers(node.nonce_at(address, block) for node in self._nodes)
        return [one for one in said if one is not None]


async def _numbers(asked: Iterable[Awaitable[int]]) -> list[int | None]:
    found: list[int | None] = []
    for one in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(one, int):
            found.append(one)
        elif isinstance(one, RiseCurveError | ValueError | TypeError):
            found.append(None)
        else:
            raise one
    return found
