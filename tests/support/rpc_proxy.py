"""A JSON-RPC node in front of anvil that speaks shreds, and that can lie.

anvil mines whole blocks. The proxy takes each new one and lives it again as RISE does:
  1. open: its transactions go out as shreds and as logs without a block hash, spread over
     `shred_s`; no read shows the block, a receipt of what was shown has hash zero;
  2. sealed: reads show it, then its head and its logs with their hash are pushed.
Blocks of a reorg up to the old tip are sealed at once, with nothing but their heads, as
anvil does it. State reads (`eth_call`, nonces, balances) always see anvil's newest block,
as a RISE node's see the open one. All faults are in `Faults`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp import web

from chain.rpc import JsonRpc, RpcError
from engine.errors import TransientError
from tests.support.rpc_faults import Faults, Json, Places
from tests.support.rpc_sockets import Sockets
from tests.support.shredding import OpenBlock, head_of

REMEMBERED = 256
"""Sealed blocks whose hashes are kept, to see a reorg."""
BORROW_S = 2.0
"""Longest wait for the next block, whose transaction is shown too early."""
CHANGES_HISTORY = frozenset({"anvil_reorg", "anvil_rollback", "evm_revert"})
UNKNOWN_BLOCK = RpcError(-32000, "unknown block")


class RpcProxy:
    """`async with RpcProxy(anvil.rpc_url) as proxy`; then `rpc_url`, `ws_url`, `faults`.

    `shreds=False`: a node without shreds; `preconfirmed_logs=False`: logs come sealed only;
    both off and `shred_s=0`: an ordinary node.
    """

    def __init__(
        self,
        target_url: str,
        *,
        shreds: bool = True,
        preconfirmed_logs: bool = True,
        sealed_logs: bool = True,
        shred_s: float = 0.1,
        txs_per_shred: int = 1,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.sockets = Sockets(self.faults, shreds=shreds)
        self.shred_s = shred_s
        self.txs_per_shred = txs_per_shred
        self._preconfirmed_logs = preconfirmed_logs
        self._sealed_logs = sealed_logs
        self._target_url = target_url
        self._target = JsonRpc(target_url, timeout_s=30.0)
        self._sealed: dict[int, Json] = {}
        self._numbers: dict[str, int] = {}
        self._orphans: list[Json] = []
        self._open: OpenBlock | None = None
        self._tip = -1
        self._lock = asyncio.Lock()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = 0
        self._follower: asyncio.Task[None] | None = None
        self.trouble = "none"
        self._methods: dict[str, Callable[..., Awaitable[Any]]] = {
            "eth_blockNumber": self._block_number,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getLogs": self._get_logs,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionByHash": self._transaction,
            "eth_sendRawTransactionSync": self._send_sync,
        }

    # -------------------------------------------------------------- what tests do

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    @property
    def tip(self) -> int:
        """The newest sealed block."""
        return self._tip

    def check(self) -> None:
        """Raise what ended the following of anvil: a fault of the proxy itself."""
        if self._follower is not None and self._follower.done():
            self._follower.result()

    def cut(self) -> None:
        """Reset every connection, HTTP ones too."""
        self.faults.counts["cuts"] += 1
        self.sockets.cut()

    async def kill(self) -> None:
        """Connections are reset and new ones refused, until `revive`."""
        assert self._site is not None
        await self._site.stop()
        self._site = None
        self.cut()

    async def revive(self) -> None:
        assert self._runner is not None and self._site is None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await self._site.start()

    def push_false_head(self) -> bool:
        """Push the head of an orphaned block once more; False where nothing was orphaned yet."""
        if not self._orphans:
            return False
        self.faults.counts["false_heads"] += 1
        self.sockets.push("newHeads", head_of(self.faults.random.choice(self._orphans)))
        return True

    async def __aenter__(self) -> "RpcProxy":
        head = await self._target.call("eth_getBlockByNumber", ["latest", False])
        tip = int(head["number"], 16)
        numbers = range(max(0, tip - REMEMBERED), tip + 1)
        calls = [("eth_getBlockByNumber", [hex(number), False]) for number in numbers]
        for json in await self._target.batch(calls):
            self._show(json)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        self._follower = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        assert self._follower is not None and self._runner is not None
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)
        self.sockets.cut()
        await self.sockets.close()
        await self._runner.cleanup()
        await self._target.close()
        await asyncio.sleep(0)  # Let aborted transports close their sockets.

    # ------------------------------------------------------------- living blocks again

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_once()
            except (aiohttp.ClientError, OSError, TransientError, RpcError) as error:
                self.trouble = repr(error)
                await asyncio.sleep(0.1)  # anvil is away, or stopped in the middle

    async def _follow_once(self) -> None:
        url = urlsplit(self._target_url)._replace(scheme="ws").geturl()
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_str(
                '{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'
            )
            async for _ in socket:
                async with self._lock:
                    await self._sync()

    async def _sync(self) -> None:
        head = await self._target.call("eth_getBlockByNumber", ["latest", False])
        number = int(head["number"], 16)
        path = [head] if self._hash(number) != head["hash"] else []
        while path and (below := int(path[-1]["number"], 16) - 1) >= 0:
            parent = path[-1]["parentHash"]
            if self._hash(below) in (parent, None) and below <= self._tip:
                break
            found = await self._target.call("eth_getBlockByHash", [parent, False])
            if found is None:
                return  # reorganised while it is read: the next head begins anew
            path.append(found)
        old_tip = self._tip
        self._orphan(int(path[-1]["number"], 16) - 1 if path else number)
        for left, header in zip(range(len(path) - 1, -1, -1), reversed(path), strict=True):
            if int(header["number"], 16) <= old_tip:
                self._show(header)
                self.sockets.push("newHeads", head_of(header))
            elif not await self._live(header["hash"], hurried=left > 0):
                return

    def _hash(self, number: int) -> str | None:
        header = self._sealed.get(number)
        return header["hash"] if header else None

    def _orphan(self, ancestor: int) -> None:
        for number in [n for n in self._sealed if n > ancestor]:
            self._orphans.append(self._sealed.pop(number))
            del self._numbers[self._orphans[-1]["hash"]]
        del self._orphans[:-REMEMBERED]
        self._tip = min(self._tip, ancestor)

    async def _live(self, block_hash: str, *, hurried: bool) -> bool:
        json = await self._target.call("eth_getBlockByHash", [block_hash, True])
        receipts = await self._target.call("eth_getBlockReceipts", [block_hash])
        if json is None or receipts is None:
            self.trouble = f"{block_hash}: {'no block' if json is None else 'no receipts'}"
            return False
        block = OpenBlock(json, receipts)
        await self._contradict(block)
        await self._stream(block, hurried=hurried)
        # It may be gone by now: then its transactions were shown and do not come true.
        still = await self._target.call("eth_getBlockByHash", [block_hash, False])
        self._open = None
        if still is None:
            return False
        self._seal(still, receipts)
        return True

    async def _contradict(self, block: OpenBlock) -> None:
        faults = self.faults
        if not faults.contradict or not faults.chance(faults.contradictions, "tried"):
            return
        done = None
        if faults.contradict == "absent":
            done = block.borrow(await self._borrowed(block.number + 1))
        elif faults.contradict == "swapped":
            done = block.swap(faults.random)
        elif faults.contradict == "changed":
            done = block.change(faults.random)
        if done:
            faults.counts[faults.contradict] += 1
            faults.untrue.extend(done)

    async def _borrowed(self, number: int) -> tuple[Json, Json] | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BORROW_S
        while loop.time() < deadline:
            json = await self._target.call("eth_getBlockByNumber", [hex(number), True])
            if json is not None:
                receipts = await self._target.call("eth_getBlockReceipts", [json["hash"]])
                if receipts is None:
                    return None
                pairs = zip(json["transactions"], receipts, strict=True)
                return next((pair for pair in pairs if pair[1]["logs"]), None)
            await asyncio.sleep(0.02)
        return None

    async def _stream(self, block: OpenBlock, *, hurried: bool) -> None:
        self._open = block
        shreds = block.shreds(self.txs_per_shred)
        pause_s = 0.0 if hurried else self.shred_s / len(shreds)
        for shred in shreds:
            logs, told = block.reach(shred), self.faults.shreds([shred])
            for one in told:
                self.sockets.push("shreds", one, self.faults.delay(Places.SHREDS))
            if self._preconfirmed_logs:
                self._push_logs(logs)
            await asyncio.sleep(pause_s)

    def _seal(self, header: Json, receipts: Sequence[Json]) -> None:
        self._show(header)
        self.sockets.push("newHeads", head_of(header))
        if self._sealed_logs:
            self._push_logs([log for receipt in receipts for log in receipt["logs"]])
        if self.faults.random.random() < self.faults.false_heads:
            self.push_false_head()

    def _push_logs(self, logs: Sequence[Json]) -> None:
        for log in self.faults.logs(logs, Places.PUSHED):
            self.sockets.push("logs", log, self.faults.delay(Places.PUSHED))

    def _show(self, header: Json) -> None:
        number = int(header["number"], 16)
        self._sealed[number], self._numbers[header["hash"]] = header, number
        self._tip = number
        while len(self._sealed) > REMEMBERED:
            del self._numbers[self._sealed.pop(min(self._sealed))["hash"]]

    # ------------------------------------------------------------------------- serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.sockets.note(request.transport)
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self.sockets.serve(request, self._answer)
        payload = orjson.loads(await request.read())
        await self._thaw()
        if isinstance(payload, list):
            answers: Any = await asyncio.gather(*(self._answer(one) for one in payload))
        else:
            answers = await self._answer(payload)
        await self._thaw()
        return web.Response(body=orjson.dumps(answers), content_type="application/json")

    async def _thaw(self) -> None:
        self.faults.counts["frozen"] += self.faults.frozen
        while self.faults.frozen and not self._closing.is_set():
            await asyncio.sleep(0.02)

    async def _answer(self, request: Json) -> Json:
        reply = {"jsonrpc": "2.0", "id": request.get("id")}
        method, params = request["method"], request.get("params") or []
        if self.faults.refuses(method):
            return reply | {"error": {"code": -32005, "message": "injected error"}}
        try:
            if method in CHANGES_HISTORY:
                return reply | {"result": await self._change_history(method, params)}
            known = self._methods.get(method)
            found = await (known(*params) if known else self._target.call(method, params))
            return reply | {"result": found}
        except RpcError as error:
            fields = {"code": error.code, "message": error.message, "data": error.data}
            return reply | {"error": {name: one for name, one in fields.items() if one is not None}}

    async def _change_history(self, method: str, params: Sequence[Any]) -> Any:
        async with self._lock:
            result = await self._target.call(method, params)
            await self._sync()
            return result

    # --------------------------------------------------------------------------- reads

    @property
    def _seen(self) -> int:
        self.faults.counts["lagged"] += self.faults.lag_blocks > 0
        return max(self._tip - self.faults.lag_blocks, 0)

    async def _block_number(self) -> str:
        return hex(self._seen)

    async def _block_by_number(self, block: str, full: bool = False) -> Any:
        seen = self._seen
        if block in ("latest", "pending"):
            block = hex(seen)
        if block.startswith("0x") and int(block, 16) > seen:
            return None
        found = await self._target.call("eth_getBlockByNumber", [block, full])
        if found is not None and int(found["number"], 16) > seen:  # safe or finalized
            return await self._target.call("eth_getBlockByNumber", [hex(seen), full])
        return found

    async def _block_by_hash(self, block: str, full: bool = False) -> Any:
        if not await self._shows(block):
            return None
        return await self._target.call("eth_getBlockByHash", [block, full])

    async def _get_logs(self, query: Json) -> list[Json]:
        at_hash = "blockHash" in query
        if at_hash:
            if not await self._shows(query["blockHash"]):
                raise UNKNOWN_BLOCK
        else:
            first, last = (self._limit(query.get(name)) for name in ("fromBlock", "toBlock"))
            last = min(last, self._seen)
            if first > last:
                return []
            query = query | {"fromBlock": hex(first), "toBlock": hex(last)}
        place = Places.AT_HASH if at_hash else Places.RANGES
        found = await self._target.call("eth_getLogs", [query])
        await asyncio.sleep(self.faults.delay(place))
        return self.faults.logs(found, place)

    async def _block_receipts(self, block: str) -> Any:
        if block in ("latest", "pending"):
            block = hex(self._seen)
        shown = await self._shows(block) if len(block) == 66 else int(block, 16) <= self._seen
        if not shown:
            return None
        receipts = await self._target.call("eth_getBlockReceipts", [block])
        await asyncio.sleep(self.faults.delay(Places.RECEIPTS))
        return [self._doubtful(one) for one in receipts] if receipts else receipts

    async def _receipt(self, tx_hash: str) -> Any:
        if self._open is not None and tx_hash in self._open.receipts:
            return self._open.receipts[tx_hash]
        found = await self._target.call("eth_getTransactionReceipt", [tx_hash])
        if found is None or int(found["blockNumber"], 16) > self._seen:
            return None
        return self._doubtful(found)

    async def _transaction(self, tx_hash: str) -> Any:
        found = await self._target.call("eth_getTransactionByHash", [tx_hash])
        if found and found["blockNumber"] and int(found["blockNumber"], 16) > self._seen:
            return found | dict.fromkeys(("blockHash", "blockNumber", "transactionIndex"))
        return found

    async def _send_sync(self, raw: str, *timeout: Any) -> Any:
        found = await self._target.call("eth_sendRawTransactionSync", [raw, *timeout])
        tx_hash, number = found["transactionHash"], int(found["blockNumber"], 16)
        while self._tip < number and not self._closing.is_set():
            if self._open is not None and tx_hash in self._open.receipts:
                return self._open.receipts[tx_hash]
            await asyncio.sleep(0.005)
        return found

    async def _shows(self, block_hash: str) -> bool:
        number = self._numbers.get(block_hash)
        if number is None:
            json = await self._target.call("eth_getBlockByHash", [block_hash, False])
            if json is None:
                return False
            # Older than what is remembered, or hidden.
            return int(json["number"], 16) < min(self._sealed)
        return number <= self._seen

    def _limit(self, block: str | None) -> int:
        if block is None or not block.startswith("0x"):
            return 0 if block == "earliest" else self._seen
        return int(block, 16)

    def _doubtful(self, receipt: Json) -> Json:
        return receipt | {"logs": self.faults.logs(receipt["logs"], Places.RECEIPTS)}
