"""A JSON-RPC client that answers from a dictionary of functions."""

from collections.abc import Callable, Sequence
from typing import Any

from chain.rpc import JsonRpc, RpcError


class FakeRpc(JsonRpc):
    """`methods` maps a method to what answers it; without one the node does not know it."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.methods = methods
        self.calls: list[tuple[str, list[Any]]] = []
        self.batch_max = 1_000

    async def call(
        self, method: str, params: Sequence[Any] = (), *, timeout_s: float | None = None
    ) -> Any:
        self.calls.append((method, list(params)))
        if method not in self.methods:
            raise RpcError(-32601, "Method not found")
        return self.methods[method](*params)

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        if len(calls) > self.batch_max:
            raise RpcError(-32600, "batch too large")
        return [await self.call(method, params) for method, params in calls]
