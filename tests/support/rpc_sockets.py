"""The proxy's WebSockets: subscriptions, each connection with a queue and a writer."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from tests.support.rpc_faults import Faults, Json

Answer = Callable[[Any], Awaitable[Any]]


class Sockets:
    """All connections of one proxy. `counts` of what was pushed stand in `pushed`."""

    def __init__(self, faults: Faults, *, shreds: bool) -> None:
        self._faults = faults
        self._shreds = shreds
        self._connections: set[_Connection] = set()
        self._transports: set[asyncio.BaseTransport] = set()
        self._late: set[asyncio.TimerHandle] = set()
        self._ids = itertools.count(1)
        self.accepted = 0
        self.pushed: dict[str, int] = {"newHeads": 0, "logs": 0, "shreds": 0}

    def note(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection of either kind was used; `cut` will reach it."""
        self._transports = {one for one in self._transports if not one.is_closing()}
        if transport is not None:
            self._transports.add(transport)

    def cut(self) -> None:
        """Reset all that is open."""
        for transport in self._transports:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
        self._transports.clear()

    def push(self, kind: str, result: Json, delay_s: float = 0.0) -> None:
        """To every subscription of `kind` that the filter lets it through to."""
        if not delay_s:
            return self._push(kind, result)
        loop = asyncio.get_running_loop()
        self._late = {one for one in self._late if one.when() > loop.time()}
        self._late.add(loop.call_later(delay_s, self._push, kind, result))
        return None

    async def close(self) -> None:
        """Forget what is still to be pushed."""
        for handle in self._late:
            handle.cancel()
        for connection in list(self._connections):
            connection.writer.cancel()

    async def serve(self, request: web.Request, answer: Answer) -> web.WebSocketResponse:
        """One connection, to its end."""
        while self._faults.half_open:
            await asyncio.sleep(0.02)
        socket = web.WebSocketResponse(autoping=False, max_msg_size=0)
        await socket.prepare(request)
        self.accepted += 1
        connection = _Connection(socket)
        self._connections.add(connection)
        try:
            async for message in socket:
                if self._dead(connection):
                    continue
                if message.type is aiohttp.WSMsgType.PING:
                    connection.put(message.data, pong=True)
                elif message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    await self._message(connection, orjson.loads(message.data), answer)
        finally:
            self._connections.discard(connection)
            connection.writer.cancel()
        return socket

    async def _message(self, connection: "_Connection", json: Any, answer: Answer) -> None:
        method = json.get("method") if isinstance(json, dict) else None
        if method == "eth_subscribe":
            connection.put(orjson.dumps(self._subscribe(connection, json)))
        elif method == "eth_unsubscribe":
            known = connection.subscriptions.pop(json["params"][0], None) is not None
            connection.put(orjson.dumps({"jsonrpc": "2.0", "id": json["id"], "result": known}))
        else:
            reply = await answer(json)
            if not self._dead(connection):
                connection.put(orjson.dumps(reply))

    def _subscribe(self, connection: "_Connection", json: Json) -> Json:
        kind, *rest = json["params"]
        reply = {"jsonrpc": "2.0", "id": json["id"]}
        if kind not in self.pushed or (kind == "shreds" and not self._shreds):
            # As a node answers that does not know the kind.
            return reply | {"error": {"code": -32602, "message": f"unknown variant `{kind}`"}}
        name = hex(next(self._ids))
        filtered = rest[0] if kind == "logs" and rest else {}
        connection.subscriptions[name] = kind, filtered
        return reply | {"result": name}

    def _push(self, kind: str, result: Json) -> None:
        for connection in list(self._connections):
            if self._dead(connection):
                continue
            for name, (wanted, filtered) in connection.subscriptions.items():
                if wanted == kind and (kind != "logs" or matches(filtered, result)):
                    self.pushed[kind] += 1
                    params = {"subscription": name, "result": result}
                    connection.put(
                        orjson.dumps(
                            {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                        )
                    )

    def _dead(self, connection: "_Connection") -> bool:
        # A half-open connection does not come back to life.
        if self._faults.half_open and not connection.dead:
            self._faults.counts["half_open"] += 1
            connection.dead = True
        return connection.dead


class _Connection:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self.subscriptions: dict[str, tuple[str, Json]] = {}
        self.dead = False
        self.writer = asyncio.create_task(self._write())

    def put(self, data: bytes, *, pong: bool = False) -> None:
        self._queue.put_nowait((data, pong))

    async def _write(self) -> None:
        while True:
            data, pong = await self._queue.get()
            try:
                if pong:
                    await self._socket.pong(data)
                else:
                    await self._socket.send_str(data.decode())
            except (ConnectionError, RuntimeError):
                return  # Cut meanwhile.


def matches(filtered: Json, log: Json) -> bool:
    """Whether eth_subscribe's or eth_getLogs' filter lets this log through."""
    addresses = filtered.get("address") or []
    addresses = [addresses] if isinstance(addresses, str) else addresses
    if addresses and log["address"].lower() not in [one.lower() for one in addresses]:
        return False
    for at, wanted in enumerate(filtered.get("topics") or []):
        choices = [wanted] if isinstance(wanted, str) else wanted
        if choices and (at >= len(log["topics"]) or log["topics"][at] not in choices):
            return False
    return True
