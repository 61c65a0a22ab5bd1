"""Where a topic stands: its last number, what was missed of it, and a snapshot to begin with.

Who subscribes registers first and asks then: what is published meanwhile is heard, and what
comes twice is recognised by `seq`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from engine import text
from engine.errors import TransientError
from engine.messages import MarketView, Refusal
from gateway import view
from gateway.errors import raise_refusal
from gateway.fanout import Last
from gateway.ports import Markets, Ticks
from gateway.realtime import NEW_TOKEN_PATIENCE_S

RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """`missed`: messages after the `since` that was asked for, as published. `gap`: they are not
    to be had. `seq` None: nothing was published lately."""

    seq: int | None
    generation: str | None
    missed: tuple[dict[str, Any], ...] | None = None
    gap: bool = False


class Topics:
    """`heard` is the fan-out's memory of a topic."""

    def __init__(
        self,
        *,
        markets: Markets,
        ticks: Ticks,
        heard: Callable[[str], Last | None],
        timeout_s: float,
    ) -> None:
        self._markets = markets
        self._ticks = ticks
        self._heard = heard
        self._timeout_s = timeout_s

    async def place(self, topic: str, *, since: int | None, generation: str | None) -> Place:
        """Never raises for a store that is away: then nothing is known, or it is a gap."""
        seq, of = await self._last(topic)
        if since is None:
            return Place(seq, of)
        missed = await self._missed(topic, since, generation)
        if missed is None:
            return Place(seq, of, gap=True)
        reached = missed[-1]["seq"] if missed else since
        return Place(reached, generation, missed=tuple(missed))

    async def snapshot(self, topic: str) -> dict[str, Any] | None:
        """A token's live market, as the REST door shows it; None for other topics. Raises as
        the market refuses.
        """
        token = text.token_of_topic(topic)
        if token is None:
            return None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + NEW_TOKEN_PATIENCE_S
        while True:
            found = await self._view(token)
            if isinstance(found, MarketView):
                return {"tokenAddress": text.address(token)} | view.market_data(found)
            # One whose launch was just mined reaches its shard within about a block.
            if found.code != "token_not_found" or loop.time() >= deadline:
                raise_refusal(found)
            await asyncio.sleep(RETRY_S)

    async def _view(self, token: bytes) -> MarketView | Refusal:
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await self._markets.views([token]))[0]
        except TimeoutError as error:
            raise TransientError("shard_unavailable", "Expected the market to answer") from error

    async def _last(self, topic: str) -> tuple[int | None, str | None]:
        # Heard here, or kept in the store from before this process listened.
        last = self._heard(topic)
        if last is not None:
            return last.seq, last.generation
        with contextlib.suppress(TransientError):
            found = await self._ticks.last(topic)
            if found is not None:
                return found
        return None, None

    async def _missed(
        self, topic: str, since: int, generation: str | None
    ) -> list[dict[str, Any]] | None:
        if generation is None:
            return None
        try:
            found = await self._ticks.replay(topic, generation=generation, after_seq=since)
        except TransientError:
            return None
        return None if found is None else [orjson.loads(message) for message in found]
