"""A gateway with a bridge: real stores, two real chains with vaults, and the bridge's roles."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from actors.bridge_notices import BridgeNotices
from chain import vault
from deploy.embedded import Embedded
from engine.bridge.control import Pause
from engine.control import Directory, Instance
from gateway.bridge_ports import BridgeEnd, BridgePorts
from storage import valkey
from storage.bridge_notices import BridgeNotices as StoredNotices
from storage.bridge_reads import BridgeReads
from storage.bridge_requests import BridgeRequests
from storage.ticks import Ticks
from tests.bridge.chains import ETHER, RISE, SEPOLIA, Chains, End, opened
from tests.bridge.world import World, built
from tests.support.fakes import FakeSink
from tests.support.gateway import Door
from tests.support.lobby import lobby
from tests.support.tasks import beside

BLOCK_S = 0.2
LEAST_WEI = ETHER // 1_000
LIMIT_WEI = 100 * ETHER
WAIT_S = 40.0


class Requests(BridgeReads, BridgeRequests):
    """As the composition root puts them together."""

    def __init__(self, pool: Any) -> None:
        BridgeReads.__init__(self, pool, [RISE, SEPOLIA])
        BridgeRequests.__init__(self, pool)


@dataclass
class Bridged:
    """`wallet` owns ETH on both chains and is logged in by `headers`."""

    door: Door
    world: World
    chains: Chains
    notices: BridgeNotices
    headers: dict[str, str]
    wallet: LocalAccount = field(default_factory=Account.create)

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        more = body.pop("headers", {})
        return await self.door.post(f"/api{path}", body, headers=self.headers | more)

    async def status(self, id: str) -> dict[str, Any]:
        status, answer = await self.door.get(f"/api/bridge/status/{id}")
        assert status == 200, answer
        return dict(answer["data"])

    async def send(self, transaction: dict[str, str]) -> dict[str, Any]:
        """Sign the door's transaction, send it to its chain's node; the receipt."""
        end = self.chains[int(transaction["chainId"], 16)]
        fields: dict[str, Any] = {
            name: transaction[name] for name in ("to", "data", "value", "chainId", "gas")
        } | {"maxFeePerGas": 100 * 10**9, "maxPriorityFeePerGas": 10**9, "type": 2}
        nonce = await end.node.nonce(bytes.fromhex(self.wallet.address[2:]))
        raw = self.wallet.sign_transaction(fields | {"nonce": nonce}).raw_transaction
        tx_hash = await end.node.send_raw(bytes(raw))
        async with asyncio.timeout(WAIT_S):
            while True:
                found = await end.rpc.call("eth_getTransactionReceipt", ["0x" + tx_hash.hex()])
                if found is not None:
                    return dict(found)
                await asyncio.sleep(0.05)

    async def until(self, id: str, *wanted: str) -> dict[str, Any]:
        """Its status once its step is one of these."""
        async with asyncio.timeout(WAIT_S):
            while (state := await self.status(id))["step"] not in wanted:
                await asyncio.sleep(0.1)
        return state

    def staffed(self, *roles: str) -> None:
        """Who is there, as the supervisor would tell."""
        instances = tuple(Instance(role, role, role) for role in roles)
        self.door.gateway.route(Directory(1, instances, ()))


@asynccontextmanager
async def bridged(
    embedded: Embedded, urls: Mapping[str, str], folder: Path, *, working: bool = True
) -> AsyncIterator[Bridged]:
    """`urls`: postgres, mongodb, redis. Without `working` nobody attests, relays or checks."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        chains = await enter(opened(embedded, limit_wei=LIMIT_WEI, fee_bps=30))
        await enter(chains.mined(BLOCK_S))
        world = await enter(built(chains, urls["postgres"], folder, random.Random(1)))
        redis = valkey.connect(urls["redis"])
        stack.push_async_callback(redis.aclose)
        ticks = Ticks(redis)
        notices = BridgeNotices(notices=StoredNotices(world.pool), ticks=ticks, log=FakeSink())
        more = {"bridge": _ports(world), "ticks": ticks}
        door = await enter(lobby(urls["mongodb"], urls["redis"], more=more))
        one = Bridged(door, world, chains, notices, await door.login())
        one.wallet = door.account
        one.staffed("relayer", "bridge_checker")
        for end in chains.ends.values():
            await end.rpc.call("anvil_setBalance", [one.wallet.address, hex(1_000 * ETHER)])
        if working:
            await enter(_working(world, notices))
        yield one


@asynccontextmanager
async def _working(world: World, notices: BridgeNotices) -> AsyncIterator[None]:
    async with world.listening(), world.checking() as checker:
        world.town.enter(
            "bridge_checker", slot="checker", role="bridge_checker", handlers=checker.handlers
        )
        for index in range(3):
            world.attestor(index, {})
        async with beside((world.alive("relayer", {}), notices.run())):
            yield


def _ports(world: World) -> BridgePorts:
    async def pause(checker: str, timeout_s: float) -> Mapping[int, bool]:
        done: Mapping[int, bool] = await world.town.ask(checker, Pause(), timeout_s=timeout_s)
        return done

    return BridgePorts(
        rise=_end(world.chains[RISE]),
        sepolia=_end(world.chains[SEPOLIA]),
        requests=Requests(world.pool),
        deposit=vault.deposit,
        pause=pause,
        minimum_wei=LEAST_WEI,
    )


def _end(end: End) -> BridgeEnd:
    return BridgeEnd(
        chain=end.settings,
        vault=end.vault,
        node=end.node,
        terms=partial(end.view.terms, end.chain_id),
    )
