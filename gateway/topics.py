"""What a topic is, for the doors that push: its one spelling, where it stands (its last number
and what was missed of it), and a snapshot to begin with.

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
from engine.errors import CallerError, TransientError
from engine.messages import MarketView, Refusal
from gateway import view
from gateway.addresses import parse_address
from gateway.admission import Budget, Limiter
from gateway.auth import Identity
from gateway.errors import raise_refusal
from gateway.fanout import LIST_TOPIC, TRADES_TOPIC, USER_TOPIC, Last
from gateway.ports import Markets, Ticks

TOKEN_TOPIC = "token:"  # noqa: S105  (a topic, not a secret)
SHARED_TOPICS = frozenset({LIST_TOPIC, TRADES_TOPIC})
NEW_TOKEN_PATIENCE_S = 1.5
"""A token whose launch was just mined reaches its shard within about a block."""

RETRY_S = 0.1
RESUME_WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Place:
    """`missed`: messages after the `since` that was asked for, as published. `gap`: they are not
    to be had. `seq` None: nothing was published lately."""

    seq: int | None
    generation: str | None
    missed: tuple[dict[str, Any], ...] | None = None
    gap: bool = False


class Topics:
    """`heard` is the fan-out's memory of a topic, `see` is told what a reader is shown again.
    `resumes_per_minute` is of one caller: what was missed is up to a thousand messages, some 20 ms
    of this loop.
    """

    def __init__(
        self,
        *,
        markets: Markets,
        ticks: Ticks,
        limiter: Limiter,
        heard: Callable[[str], Last | None],
        see: Callable[[str, dict[str, Any]], None],
        timeout_s: float,
        resumes_per_minute: int,
    ) -> None:
        self._markets = markets
        self._ticks = ticks
        self._limiter = limiter
        self._heard = heard
        self._see = see
        self._timeout_s = timeout_s
        self._resumes = Budget("resume", resumes_per_minute, RESUME_WINDOW_S)

    async def place(
        self, topic: str, *, who: str, since: int | None, generation: str | None
    ) -> Place:
        """Never raises for a store that is away: then nothing is known, or it is a gap. So it is
        for one who asks too often what he has missed.
        """
        seq, of = await self.last(topic)
        if since is None:
            return Place(seq, of)
        allowance = await self._limiter.take(self._resumes, who, leased=True)
        missed = await self._missed(topic, since, generation) if allowance.allowed else None
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
            if found.code != "token_not_found" or loop.time() >= deadline:
                raise_refusal(found)
            await asyncio.sleep(RETRY_S)

    async def _view(self, token: bytes) -> MarketView | Refusal:
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await self._markets.views([token]))[0]
        except TimeoutError as error:
            raise TransientError("shard_unavailable", "Expected the market to answer") from error

    async def last(self, topic: str) -> tuple[int | None, str | None]:
        """(seq, generation): heard here, or kept in the store from before this process listened."""
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
        if found is None:
            return None
        messages = [orjson.loads(message) for message in found]
        for message in messages:
            self._see(topic, message["data"])
        return messages


def topic_of(given: str) -> str:
    """The one spelling of a topic. Raises CallerError: forbidden, invalid_*."""
    if given in SHARED_TOPICS:
        return given
    if given.startswith(TOKEN_TOPIC):
        return text.topic_of_token(parse_address(given[len(TOKEN_TOPIC) :]))
    if given.startswith(USER_TOPIC):
        return text.topic_of_user("0x" + parse_address(given[len(USER_TOPIC) :]).hex())
    expected = "token:<address>, user:<address>, tokens or trades"
    raise CallerError("invalid_request", f"topic: Expected {expected}")


def check_own(topic: str, identity: Identity | None) -> None:
    """Raises CallerError("forbidden") for the topic of a wallet that is not the one logged in."""
    owner = topic.removeprefix(USER_TOPIC)
    if owner == topic:
        return
    if identity is None or "0x" + identity.address.hex() != owner:
        raise CallerError("forbidden", "topic: Expected the wallet that is logged in")
