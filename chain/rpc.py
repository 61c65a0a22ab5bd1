"""JSON-RPC over HTTP: one session, connections kept alive, every call with a timeout.

Two kinds of failure are kept apart: the node answered with an error (`RpcError`), or
nothing useful came back at all (`TransientError("stale_chain")`).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp
import orjson

from engine.errors import TransientError

CONNECTIONS_MAX = 32
"""To one node, so that a slow back-fill never waits in line before the live block."""

ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""A back-fill range of a busy chain fits; a node gone mad does not fill the memory."""

METHOD_NOT_FOUND = -32601

_HEADERS = {"content-type": "application/json"}


class RpcError(Exception):
    """The node's own error: `code`, `message` and `data` (None, hex text or an object)."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class Rpc(Protocol):
    """A node, or several that answer as one; see `JsonRpc` for what is raised."""

    async def call(
        self, method: str, params: Sequence[Any] = (), *, timeout_s: float | None = None
    ) -> Any: ...
    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]: ...
    async def close(self) -> None: ...
    def note_finalised(self, number: int) -> None:
        """The chain is final up to here: no node behind it may serve."""


class JsonRpc:
    """One node. Calls may run side by side; all reads and sends here are repeatable."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._last_id = 0

    async def call(
        self, method: str, params: Sequence[Any] = (), *, timeout_s: float | None = None
    ) -> Any:
        """The result. Raises RpcError, or TransientError when the node cannot be reached."""
        answer = await self._post(self._request(method, params), timeout_s)
        return _result(answer)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Results in the order of `calls`, in one round trip. Raises the first error found."""
        if not calls:
            return []
        requests = [self._request(method, params) for method, params in calls]
        answers = await self._post(requests, None)
        if not isinstance(answers, list):
            _result(answers)
            raise TransientError("stale_chain", "Expected a list of answers, was one")
        by_id = {answer.get("id"): answer for answer in answers}
        if len(by_id) != len(requests):
            raise TransientError(
                "stale_chain", f"Expected {len(requests)} answers, was {len(by_id)}"
            )
        return [_result(by_id.get(request["id"])) for request in requests]

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def note_finalised(self, number: int) -> None:
        """Of no use to a single node: there is no other to turn to."""

    def _request(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        self._last_id += 1
        return {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": list(params)}

    async def _post(self, body: Any, timeout_s: float | None) -> Any:
        payload = orjson.dumps(body)
        limit = aiohttp.ClientTimeout(total=timeout_s or self._timeout_s)
        try:
            try:
                return await self._once(payload, limit)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # The node closed an idle connection just as we used it: that is no trouble.
                return await self._once(payload, limit)
        except TimeoutError as error:
            raise TransientError("stale_chain", f"No answer in {limit.total} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransientError("stale_chain", f"Node not reached: {error!r}") from error

    async def _once(self, payload: bytes, limit: aiohttp.ClientTimeout) -> Any:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(connector=connector, headers=_HEADERS)
        async with self._session.post(self._url, data=payload, timeout=limit) as response:
            if (response.content_length or 0) > ANSWER_BYTES_MAX:
                raise TransientError("stale_chain", "Expected a smaller answer")
            text = await response.read()
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            message = f"Expected JSON, was HTTP {response.status}"
            raise TransientError("stale_chain", message) from error


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict):
        raise TransientError("stale_chain", f"Expected an answer, was {type(answer).__name__}")
    error = answer.get("error")
    if error is not None:
        if not isinstance(error, dict):
            raise RpcError(0, str(error))
        raise RpcError(int(error.get("code", 0)), str(error.get("message")), error.get("data"))
    if "result" not in answer:
        raise TransientError("stale_chain", "Expected a result, was none")
    return answer["result"]
