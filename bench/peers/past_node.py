"""A node that lives a chain's past again, from memory: the chain itself costs nothing then.

python -m bench.peers.past_node <anvil's http://…> <the block it stands at>

All blocks of the anvil are read and put into frames and answers beforehand. Nothing above the
block where it stands is shown. By itself it goes one quiet block a second further, and stops
before one with transactions; `past_play` [first, last, spread in seconds] shows what is before
`first` at once and, where there was something, leaves it a second; then a block a second, and
answers when `last` is sealed:
  1. open, for a second: its transactions as shreds and logs without a block hash, evenly over the
     first `spread` seconds of it;
  2. sealed: answers know it, then its head and its logs with their hash are pushed.
With a spread of 0 a block is only sealed, when it would begin. What is asked of the contracts is
asked of the anvil, at the block where this node stands; transactions are refused.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from bench.peers.past_blocks import (
    HEADS,
    LOG_FILTER,
    LOGS,
    SHREDS,
    SUBSCRIPTIONS,
    PastBlock,
    answer,
    past_block,
)
from chain.rpc import JsonRpc, RpcError
from tests.support.rpc_faults import Json
from tests.support.rpc_sockets import matches

TRANSACTIONS_A_SHRED = 5
BLOCK_S = 1.0
FINAL_DEPTH = 2
NULL = b"null"
FORWARDED = frozenset(
    {
        *("eth_chainId", "eth_call", "eth_getCode", "eth_getBalance", "eth_getStorageAt"),
        *("eth_getTransactionCount", "eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_feeHistory"),
        *("eth_estimateGas", "eth_getTransactionByHash", "net_version", "web3_clientVersion"),
    }
)


class PastNode:
    """`async with PastNode(url, tip=…) as node`; then `port`."""

    def __init__(self, anvil_url: str, *, tip: int) -> None:
        self._anvil = JsonRpc(anvil_url, timeout_s=30.0)
        self._tip = tip
        self._blocks: list[PastBlock] = []
        self._numbers: dict[str, int] = {}
        self._of_transaction: dict[str, int] = {}
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._playing = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self._idle: asyncio.Task[None] | None = None
        self.port = 0
        self._methods: dict[str, Callable[..., Awaitable[bytes]]] = {
            "eth_blockNumber": self._block_number,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getLogs": self._logs,
            "past_play": self._play,
        }

    async def __aenter__(self) -> "PastNode":
        await self._read()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self._idle = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._idle is not None and self._runner is not None
        self._idle.cancel()
        await asyncio.gather(self._idle, return_exceptions=True)
        await self._runner.cleanup()
        await self._anvil.close()

    async def _read(self) -> None:
        head = int(await self._anvil.call("eth_blockNumber", []), 16)
        for number in range(head + 1):
            json = await self._anvil.call("eth_getBlockByNumber", [hex(number), True])
            receipts = await self._anvil.call("eth_getBlockReceipts", [hex(number)])
            block = past_block(json, receipts or [], txs_per_shred=TRANSACTIONS_A_SHRED)
            self._blocks.append(block)
            self._numbers[block.hash] = number
            self._of_transaction.update(dict.fromkeys(block.receipts, number))

    # ------------------------------------------------------------------------- playing

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(BLOCK_S)
            following = self._tip + 1
            if self._playing.locked() or following == len(self._blocks):
                continue
            if self._blocks[following].is_quiet:
                await self._show(self._blocks[following])

    async def _play(self, first: int, last: int, spread_s: float) -> bytes:
        async with self._playing:
            before = range(self._tip + 1, first)
            for number in before:
                await self._show(self._blocks[number])
            began = asyncio.get_running_loop().time() + (BLOCK_S if before else 0.0)
            for number in range(first, last + 1):
                await _until(began)
                await self._live(self._blocks[number], began, spread_s)
                began += BLOCK_S
        return NULL

    async def _show(self, block: PastBlock) -> None:
        # Each block has shreds, a quiet one its deposit: else the next block's follow on a gap.
        await self._push(SHREDS, [shred.frame for shred in block.shreds])
        await self._seal(block)

    async def _live(self, block: PastBlock, began: float, spread_s: float) -> None:
        if spread_s:
            for index, shred in enumerate(block.shreds):
                await _until(began + spread_s * index / len(block.shreds))
                await self._push(SHREDS, [shred.frame])
                await self._push(LOGS, shred.logs)
            await _until(began + BLOCK_S)
        await self._seal(block)

    async def _seal(self, block: PastBlock) -> None:
        self._tip = block.number
        await self._push(HEADS, [block.head])
        await self._push(LOGS, block.sealed_logs)

    async def _push(self, kind: str, frames: Sequence[bytes]) -> None:
        for socket, kinds in list(self._sockets.items()):
            if kind in kinds:
                with contextlib.suppress(ConnectionError):
                    for frame in frames:
                        await socket.send_frame(frame, WSMsgType.TEXT)

    # ------------------------------------------------------------------------- serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._subscriber(request)
        payload = orjson.loads(await request.read())
        if isinstance(payload, list):
            body = b"[" + b",".join([await self._answer(one) for one in payload]) + b"]"
        else:
            body = await self._answer(payload)
        return web.Response(body=body, content_type="application/json")

    async def _subscriber(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        self._sockets[socket] = set()
        try:
            async for message in socket:
                json = orjson.loads(message.data)
                await socket.send_frame(self._subscribe(socket, json), WSMsgType.TEXT)
        finally:
            del self._sockets[socket]
        return socket

    def _subscribe(self, socket: web.WebSocketResponse, json: Json) -> bytes:
        kind, *rest = json["params"]
        if json["method"] != "eth_subscribe" or kind not in SUBSCRIPTIONS:
            return _refusal(json["id"], f"unknown variant `{kind}`")
        if kind == LOGS and rest != [LOG_FILTER]:
            return _refusal(json["id"], "Expected the filter that frames were made for")
        self._sockets[socket].add(kind)
        return answer(json["id"], orjson.dumps(SUBSCRIPTIONS[kind]))

    async def _answer(self, request: Json) -> bytes:
        method, params = request["method"], request.get("params") or []
        known = self._methods.get(method)
        if known is None and method not in FORWARDED:
            return _refusal(request.get("id"), f"Expected a question of the past, was {method}")
        try:
            found = await (known(*params) if known else self._forward(method, params))
        except RpcError as error:
            return _refusal(request.get("id"), error.message)
        return answer(request.get("id"), found)

    async def _forward(self, method: str, params: Sequence[Any]) -> bytes:
        now = [hex(self._tip) if one in ("latest", "pending") else one for one in params]
        return orjson.dumps(await self._anvil.call(method, now))

    async def _block_number(self) -> bytes:
        return orjson.dumps(hex(self._tip))

    async def _block_by_number(self, block: str, full: bool = False) -> bytes:
        return self._of(self._number(block), "block" if full else "header")

    async def _block_by_hash(self, block: str, full: bool = False) -> bytes:
        return self._of(self._numbers.get(block), "block" if full else "header")

    async def _block_receipts(self, block: str) -> bytes:
        number = self._numbers.get(block) if len(block) == 66 else self._number(block)
        return self._of(number, "receipts")

    async def _receipt(self, tx_hash: str) -> bytes:
        number = self._of_transaction.get(tx_hash)
        shown = number is not None and number <= self._tip
        return self._blocks[number].receipts[tx_hash] if number is not None and shown else NULL

    async def _logs(self, query: Json) -> bytes:
        if "blockHash" in query:
            found = self._of(self._numbers.get(query["blockHash"]), "logs")
            if found == NULL:
                raise RpcError(-32000, "unknown block")
            return found
        first, last = (self._number(query.get(one, "latest")) for one in ("fromBlock", "toBlock"))
        blocks = self._blocks[first : min(last, self._tip) + 1]
        return orjson.dumps([log for one in blocks for log in one.logs if matches(query, log)])

    def _number(self, block: str) -> int:
        if block in ("safe", "finalized"):
            return max(self._tip - FINAL_DEPTH, 0)
        if block == "earliest":
            return 0
        return int(block, 16) if block.startswith("0x") else self._tip

    def _of(self, number: int | None, what: str) -> bytes:
        if number is None or number > self._tip:
            return NULL
        return self._blocks[number].answers[what]


async def _until(due: float) -> None:
    await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0.0))


def _refusal(id: Any, message: str) -> bytes:
    error = {"code": -32601, "message": message}
    return orjson.dumps({"jsonrpc": "2.0", "id": id, "error": error})


async def main() -> None:
    """Says `{"port": …}`, and serves until its standard input ends."""
    anvil_url, tip = sys.argv[1:]
    async with PastNode(anvil_url, tip=int(tip)) as node:
        print(json.dumps({"port": node.port}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
