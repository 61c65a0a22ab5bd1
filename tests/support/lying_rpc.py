"""A node in front of anvil that tells the truth, until it is given a lie.

A lie gets each call with its true answer (None where the node refuses it) and says what is told.
`Recorded` is the best liar: it goes on to tell what was so earlier, every word as it was.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web

from chain.rpc import JsonRpc, RpcError

Json = dict[str, Any]
Lie = Callable[[str, Sequence[Any], Any], Any]


class LyingRpc:
    """`async with LyingRpc(url) as node`; then `node.rpc_url`, and `node.lie`."""

    def __init__(self, target_url: str) -> None:
        self._target = JsonRpc(target_url, timeout_s=30.0)
        self._runner: web.AppRunner | None = None
        self._port = 0
        self.lie: Lie | None = None
        self.away = False
        """It answers nothing of use."""

        self.asked = 0

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "LyingRpc":
        app = web.Application()
        app.router.add_post("/", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        await self._target.close()

    async def _serve(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        payload = orjson.loads(await request.read())
        if isinstance(payload, list):
            answers: Any = [await self._answer(one) for one in payload]
        else:
            answers = await self._answer(payload)
        return web.Response(body=orjson.dumps(answers), content_type="application/json")

    async def _answer(self, request: Json) -> Json:
        self.asked += 1
        reply = {"jsonrpc": "2.0", "id": request.get("id")}
        method, params = request["method"], request.get("params") or []
        refusal: RpcError | None = None
        try:
            found = await self._target.call(method, params)
        except RpcError as error:
            found, refusal = None, error
        if self.lie is not None:
            told = self.lie(method, params, found)
            if told is not found:
                return reply | {"result": told}
        if refusal is not None:
            return reply | {"error": {"code": refusal.code, "message": refusal.message}}
        return reply | {"result": found}


class Recorded:
    """What was told while `recording`, told again afterwards; all else as it is."""

    def __init__(self) -> None:
        self.recording = True
        self._told: dict[bytes, Any] = {}

    def __call__(self, method: str, params: Sequence[Any], found: Any) -> Any:
        key = orjson.dumps([method, params])
        if self.recording:
            self._told[key] = found
            return found
        return self._told.get(key, found)


def nonces_are(number: int) -> Lie:
    """Any account's next nonce is said to be this one."""

    def lie(method: str, params: Sequence[Any], found: Any) -> Any:
        return hex(number) if method == "eth_getTransactionCount" else found

    return lie
