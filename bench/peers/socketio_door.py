"""Our Socket.IO door alone, with our quote in memory: the same work in one process as the plain
python-socketio peer does. Everything of the door is there, its budgets and its checks; only the
markets answer here and not in an actor.

    python -m bench.peers.socketio_door <markets.json>
"""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from actors import collecting
from bench.peers.python_peer import Markets, markets_of, run
from chain.signatures import verify_message
from engine.buckets import bucket_of
from engine.messages import QuoteReply, QuoteRequest, Refusal
from engine.quoting import answer
from gateway.api import ApiGateway
from gateway.ports import Ports
from tests.support import chain_settings
from tests.support.fakes import (
    FakeDocuments,
    FakeMarketReads,
    FakeMarkets,
    FakeNode,
    FakeNonces,
    FakePeople,
    FakeRates,
    FakeReads,
    FakeSessions,
    FakeSink,
    FakeTicks,
)
from tests.support.gateway import settings

NO_LIMIT = 10**9
_KEPT: list["asyncio.Task[None]"] = []
Done = Callable[[QuoteReply | Refusal], None]


class InMemory(FakeMarkets):
    """What came in one turn of the loop is answered in the next, as by an actor."""

    def __init__(self, found: Markets) -> None:
        super().__init__()
        self._found = found
        self._asked: list[tuple[QuoteRequest, Done]] = []

    def begin(self, request: QuoteRequest, done: Done) -> None:
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._answer)
        self._asked.append((request, done))

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        for request, done in asked:
            market, as_of = self._found[request.token]
            done(answer(market, request, as_of=as_of, bucket=bucket_of(request.token)))


async def serve() -> int:
    """Listen on a free port of loopback."""
    return await opened(InMemory(markets_of(sys.argv[1])), FakeTicks())


async def opened(markets: Any, ticks: Any) -> int:
    """The door over these, without limits that a bench would meet; its port."""
    absent: dict[str, Any] = dict.fromkeys(
        ("audit", "referrals", "api_keys", "points", "point_days", "replays", "media", "uncounted")
    )
    ports = Ports(
        markets=markets,
        reads=FakeReads(),
        market_reads=FakeMarketReads(),
        documents=FakeDocuments(),  # type: ignore[arg-type]
        people=FakePeople(),  # type: ignore[arg-type]
        sessions=FakeSessions(),  # type: ignore[arg-type]
        nonces=FakeNonces(),
        rates=FakeRates(),
        ticks=ticks,
        node=FakeNode(),
        verify_message=partial(verify_message, accounts=None),
        bridge=None,
        **absent,
    )
    limits = dict.fromkeys(
        ("reads_per_minute", "socket_quotes_per_minute", "socket_messages_per_s"), NO_LIMIT
    )
    chosen = settings(**limits, socket_bytes_per_s=NO_LIMIT, requests_in_flight_max=10_000)
    gateway = ApiGateway(
        settings=chosen,
        chain=chain_settings.settings(),
        sepolia=None,
        ports=ports,
        log=FakeSink(),
    )
    await gateway.start()
    _KEPT.append(asyncio.create_task(collecting.keep_settling()))  # as the actors' processes do
    return gateway.port


if __name__ == "__main__":
    run(serve)
