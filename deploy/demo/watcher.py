"""Watches over Socket.IO: prices for the view, numbering, and the way from log to tick.

`receivedNs` in a tick is when the listener's socket got the block's first frame, on this
machine's clock; the difference to its arrival here is the latency a subscriber sees.
"""

import asyncio
import time
from typing import Any

import socketio

from deploy.demo.tally import Tally

RETRIED = ("shard_unavailable", "stale_chain", "store_unavailable", "overloaded")
RETRIES_MAX = 40
RETRY_PAUSE_S = 0.5


class Watcher:
    """One Socket.IO connection, subscribed to every token."""

    def __init__(self, base_url: str, tally: Tally) -> None:
        self._base_url = base_url
        self._tally = tally
        self._seen: dict[str, tuple[str, int]] = {}
        self._socket = socketio.AsyncClient(logger=False, engineio_logger=False)
        self._socket.on("price", self._price)
        self._socket.on("transaction", self._transaction)
        self._socket.on("graduation", self._graduation)
        self._socket.on("retracted", self._retracted)

    async def start(self, tokens: list[str]) -> None:
        """Connect and subscribe. Raises RuntimeError when a subscription is refused."""
        await self._socket.connect(self._base_url, transports=["websocket"])
        for token in tokens:
            await self.subscribe(token)

    async def subscribe(self, token: str) -> None:
        """Subscribe to one token's topic; what passes by itself is tried again for 20 s."""
        for _ in range(RETRIES_MAX):
            answer = await self._socket.call("subscribe", {"topic": f"token:{token}"}, timeout=10)
            if answer.get("success"):
                return
            if answer["error"]["code"] not in RETRIED:
                break
            await asyncio.sleep(RETRY_PAUSE_S)
        raise RuntimeError(f"The subscription to {token} was refused: {answer}")

    async def stop(self) -> None:
        """Disconnect."""
        await self._socket.disconnect()

    async def quote(self, **request: Any) -> Any:
        """A quote by acknowledgement: the REST envelope."""
        return await self._socket.call("quote", request, timeout=10)

    async def _price(self, message: dict[str, Any]) -> None:
        self._number(message)
        data = message["data"]
        if int(data["receivedNs"]):
            self._tally.log_to_tick_ms.append((time.time_ns() - int(data["receivedNs"])) / 1e6)
        self._show(data)

    async def _graduation(self, message: dict[str, Any]) -> None:
        self._number(message)
        self._tally.graduations += message["data"]["phase"] == "graduated"
        self._show(message["data"])

    async def _retracted(self, message: dict[str, Any]) -> None:
        self._number(message)
        self._tally.retracted += 1

    def _show(self, data: dict[str, Any]) -> None:
        market = self._tally.markets.get(data["tokenAddress"])
        if market is not None:
            market.price, market.market_cap = data["price"], data["marketCap"]
            market.progress_bps, market.phase = int(data["progressBps"]), data["phase"]

    async def _transaction(self, message: dict[str, Any]) -> None:
        self._number(message)
        market = self._tally.markets.get(message["data"]["tokenAddress"])
        if market is not None and message["data"]["type"] in ("BUY", "SELL"):
            market.trades += 1

    def _number(self, message: dict[str, Any]) -> None:
        self._tally.ticks += 1
        topic, generation, seq = message["topic"], message["generation"], int(message["seq"])
        before, first = self._seen.get(topic), int(message.get("fromSeq", seq))
        if before is not None and before[0] == generation and first != before[1] + 1:
            self._tally.tick_gaps += 1
        self._seen[topic] = (generation, seq)
