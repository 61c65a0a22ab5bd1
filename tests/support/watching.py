"""A Socket.IO subscriber that keeps what it was told: trades that stand, and what was taken back.

`standing` is a fold: `transaction` puts one in, `retracted` takes it out. While neither the
socket nor a shard died since `begin`, it must be what the chain holds.
"""

import asyncio
from collections import Counter
from typing import Any

import socketio
from socketio.exceptions import SocketIOError

Key = tuple[str, int]
RETRY_S = 0.3
RETRIES_MAX = 200


class Watcher:
    """`gaps` counts holes in `seq`, `stale` messages of an incarnation older than one seen."""

    def __init__(self, base_url: str, tokens: list[str]) -> None:
        self._url = base_url
        self._tokens = tokens
        self._socket = socketio.AsyncClient(
            logger=False, engineio_logger=False, reconnection_delay=0.2, reconnection_delay_max=0.5
        )
        self._numbers: dict[str, tuple[str, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.subscribed = 0
        self.standing: dict[Key, dict[str, Any]] = {}
        self.preconfirmed: set[Key] = set()
        self.told: Counter[str] = Counter()
        self.retracted: Counter[Key] = Counter()
        self.trail: dict[Key, list[str]] = {}
        self.withhold = 0
        self.gaps = 0
        self.breaks = 0
        self.stale: list[str] = []
        self._incarnations: dict[str, int] = {}
        for name in ("price", "graduation"):
            self._socket.on(name, self._number)
        self._socket.on("transaction", self._transaction)
        self._socket.on("retracted", self._retracted)
        self._socket.on("gap", self._gap)
        self._socket.on("connect", self._connected)

    async def start(self) -> None:
        await self._socket.connect(self._url, transports=["websocket"], wait_timeout=10)
        async with asyncio.timeout(30):
            while self.subscribed < len(self._tokens):
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._socket.disconnect()

    def begin(self) -> None:
        """Fold from here on. What was shown before and is taken back later is not counted."""
        self.standing.clear()
        self.preconfirmed.clear()
        self.retracted.clear()
        self.trail.clear()
        self.told.clear()
        self.gaps = self.breaks = 0

    async def _connected(self) -> None:
        self.breaks += 1
        self._numbers.clear()
        self.subscribed = 0
        for task in self._tasks:
            task.cancel()
        for token in self._tokens:
            self._ask(token)

    async def _gap(self, message: dict[str, Any]) -> None:
        self.breaks += 1
        self.subscribed -= 1
        self._ask(message["topic"].removeprefix("token:"))

    def _ask(self, token: str) -> None:
        task = asyncio.create_task(self._subscribe(token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _subscribe(self, token: str) -> None:
        topic = {"topic": f"token:{token}"}
        for _ in range(RETRIES_MAX):
            try:
                answer = await self._socket.call("subscribe", topic, timeout=5)
            except (SocketIOError, OSError):
                answer = {}
            if answer.get("success"):
                self.subscribed += 1
                return
            await asyncio.sleep(RETRY_S)

    async def _number(self, message: dict[str, Any]) -> None:
        self._count(message)

    def _count(self, message: dict[str, Any]) -> None:
        topic, generation, seq = message["topic"], message["generation"], int(message["seq"])
        before, first = self._numbers.get(topic), int(message.get("fromSeq", seq))
        if before is not None and before[0] != generation:
            self.breaks += 1
        elif before is not None and first != before[1] + 1:
            self.gaps += 1
        self._numbers[topic] = (generation, seq)
        incarnation = int(generation.split("-")[0])
        if incarnation < self._incarnations.get(topic, 0):
            self.stale.append(f"{topic}: {generation} after {self._incarnations[topic]}")
        self._incarnations[topic] = max(incarnation, self._incarnations.get(topic, 0))

    async def _transaction(self, message: dict[str, Any]) -> None:
        self._count(message)
        data = message["data"]
        key = (str(data["txHash"]), int(data["position"]))
        self.told[data["status"]] += 1
        if data["status"] == "preconfirmed":
            self.preconfirmed.add(key)
        self.standing[key] = data
        self._note(key, str(data["status"]), data)

    async def _retracted(self, message: dict[str, Any]) -> None:
        self._count(message)
        data = message["data"]
        key = (str(data["txHash"]), int(data["position"]))
        self.told["retracted"] += 1
        if self.withhold:
            self.withhold -= 1  # planted: a subscriber that is not told
            return
        self.retracted[key] += 1
        self._note(key, "retracted", data)
        self.standing.pop(key, None)

    def _note(self, key: Key, what: str, data: dict[str, Any]) -> None:
        where = f"{what} {data['blockNumber']}/{data['logIndex']} {data['asOf']['version'][1]}"
        self.trail.setdefault(key, []).append(where)
