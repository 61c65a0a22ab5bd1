"""Two anvils with vaults, mined by hand, so that a test says when a block comes and which."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import encode
from eth_hash.auto import keccak

from chain import abi, vault
from chain.account import DigestKey, TransactionAccount
from chain.rpc import JsonRpc, RpcError
from chain.sender import Node
from chain.vault_view import VaultView
from deploy.embedded import Embedded
from engine.errors import CallerError, TransientError
from engine.settings import ChainSettings
from tests.support.reorgs import kept
from tests.support.servers import Anvil
from tests.support.tasks import beside

ETHER = 10**18
RISE, SEPOLIA = 11155931, 11155111
EPOCH_SLOTS = 4
FINAL_BLOCKS = 2 * EPOCH_SLOTS
"""anvil's finalized tag is so far behind the head."""

DEPTH_MAX = FINAL_BLOCKS - 2
THRESHOLD = 2
DAY_S = 86_400
SIGNER_KEYS = tuple(Anvil.keys()[1:4])
OWNER_KEY, GUARDIAN_KEY, RELAYER_KEY = (Anvil.keys()[index] for index in (0, 4, 5))
_CONFIG = "(address,address[],uint256,address[],address[],uint256,uint256,uint256,uint256)"


@dataclass
class End:
    """One chain: its node, its vault, and a hand on its miner."""

    settings: ChainSettings
    rpc: JsonRpc
    vault: bytes
    first_block: int
    mining: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def chain_id(self) -> int:
        return self.settings.chain_id

    @property
    def node(self) -> Node:
        return Node(self.rpc, self.settings)

    @property
    def view(self) -> VaultView:
        return VaultView(self.node, address=self.vault)

    async def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            await self.rpc.call("evm_mine")

    async def head(self) -> int:
        return int(await self.rpc.call("eth_blockNumber"), 16)

    async def finalised(self) -> int:
        # While a reorganisation rewrites its blocks, anvil has none of this name.
        for _ in range(200):
            block = await self.rpc.call("eth_getBlockByNumber", ["finalized", False])
            if block is not None:
                return int(block["number"], 16)
            await asyncio.sleep(0.02)
        raise AssertionError("Expected a finalized block")

    async def pass_time(self, seconds: int) -> None:
        await self.rpc.call("evm_increaseTime", [seconds])
        await self.mine()

    async def reorganise(self, rng: random.Random, depth: int, *, drop_all: bool = False) -> int:
        """How many transactions were dropped, -1 where a block came in between."""
        with contextlib.suppress(RpcError):
            pairs, dropped = ([], 0) if drop_all else await kept(self.rpc, rng, depth)
            await self.rpc.call("anvil_reorg", [depth, pairs])
            return dropped
        return -1

    async def send(self, key: bytes, *, to: bytes | None, data: bytes, value: int = 0) -> bytes:
        """The hash of what was sent; it is not mined yet."""
        account = TransactionAccount(key, chain_id=self.chain_id)
        for again in range(100):
            raw, tx_hash = account.sign(
                to=to or b"",
                data=data,
                gas=8_000_000,
                nonce=await self.node.nonce(account.address),
                fees=(100 * 10**9, 10**9),
                value=value,
            )
            try:
                await self.node.send_raw(raw)
                break
            except CallerError as error:
                # Asked in the middle of a reorganisation, the nonce was one of the old blocks.
                if again == 99 or "nonce too low" not in error.message:
                    raise
                await asyncio.sleep(0.02)
        return tx_hash

    async def done(self, key: bytes, *, to: bytes | None, data: bytes, value: int = 0) -> Any:
        """The receipt of a transaction that must succeed."""
        tx_hash = await self.send(key, to=to, data=data, value=value)
        for _ in range(600):
            receipt = await self.rpc.call("eth_getTransactionReceipt", ["0x" + tx_hash.hex()])
            if receipt is not None:
                assert receipt["status"] == "0x1", receipt
                return receipt
            if not self.mining.is_set():
                await self.mine()
            await asyncio.sleep(0.02)
        raise AssertionError("not mined")


@dataclass
class Chains:
    """Both ends."""

    ends: dict[int, End]

    def __getitem__(self, chain_id: int) -> End:
        return self.ends[chain_id]

    def other(self, chain_id: int) -> End:
        return self.ends[SEPOLIA if chain_id == RISE else RISE]

    @property
    def vaults(self) -> dict[int, bytes]:
        return {end.chain_id: end.vault for end in self.ends.values()}

    async def pass_time(self, seconds: int) -> None:
        await asyncio.gather(*(end.pass_time(seconds) for end in self.ends.values()))

    @asynccontextmanager
    async def mined(self, block_s: float) -> AsyncIterator[None]:
        """Blocks come by themselves inside, about every `block_s` seconds, while an end's
        `mining` is set."""

        async def keep(end: End) -> None:
            while True:
                await end.mining.wait()
                # One that a test takes away at the same time is simply not there.
                with contextlib.suppress(RpcError, TransientError):
                    await end.mine()
                await asyncio.sleep(block_s)

        for end in self.ends.values():
            end.mining.set()
        async with beside(keep(end) for end in self.ends.values()):
            try:
                yield
            finally:
                for end in self.ends.values():
                    end.mining.clear()


@asynccontextmanager
async def opened(
    embedded: Embedded, *, limit_wei: int = 10_000 * ETHER, fee_bps: int = 30, block_s: float = 0.2
) -> AsyncIterator[Chains]:
    """Fresh vaults that know each other, with liquidity; `embedded` keeps the nodes."""
    ends: dict[int, End] = {}
    for chain_id in (RISE, SEPOLIA):
        name = f"anvil-{chain_id}"
        if name not in embedded.servers:
            embedded.start_anvil(
                chain_id, block_time=None, slots_in_an_epoch=EPOCH_SLOTS, keep_state=False
            )
        url = embedded.servers[name].url
        ends[chain_id] = await _end(chain_id, url, block_s, limit_wei=limit_wei, fee_bps=fee_bps)
    chains = Chains(ends)
    for end in ends.values():
        other = chains.other(end.chain_id)
        peer = keccak(b"setPeer(uint256,address)")[:4]
        data = peer + encode(["uint256", "address"], [other.chain_id, other.vault])
        await end.done(OWNER_KEY, to=end.vault, data=data)
        add = keccak(b"addLiquidity()")[:4]
        await end.done(OWNER_KEY, to=end.vault, data=add, value=1_000 * ETHER)
    try:
        yield chains
    finally:
        for end in ends.values():
            await end.rpc.close()


async def _end(chain_id: int, url: str, block_s: float, *, limit_wei: int, fee_bps: int) -> End:
    rpc = JsonRpc(url, timeout_s=30.0)
    genesis = await rpc.call("eth_getBlockByNumber", ["0x0", False])
    await rpc.call("evm_setAutomine", [False])
    settings = ChainSettings(
        chain_id=chain_id,
        rpc_url=url,
        ws_url=url.replace("http", "ws", 1),
        genesis_hash=bytes.fromhex(genesis["hash"][2:]),
        launchpads=(),
        weth=bytes(20),
        factory=bytes(20),
        router=bytes(20),
        block_time_s=block_s,
        reorg_depth_max=64,
        rpc_timeout_s=5.0,
        follow_from=0,
    )
    end = End(settings, rpc, b"", 0)
    for key in (OWNER_KEY, GUARDIAN_KEY, RELAYER_KEY):
        address = DigestKey(key).address
        await rpc.call("anvil_setBalance", ["0x" + address.hex(), hex(10**6 * ETHER)])
    signers = sorted(DigestKey(key).address for key in SIGNER_KEYS)
    owner, guardian = (DigestKey(key).address for key in (OWNER_KEY, GUARDIAN_KEY))
    config = (
        owner,
        signers,
        THRESHOLD,
        [guardian],
        [owner],
        limit_wei,
        fee_bps,
        60,
        DAY_S,
    )
    code = bytes.fromhex(abi.load("BridgeVault")["bytecode"][2:]) + encode([_CONFIG], [config])
    receipt = await end.done(OWNER_KEY, to=None, data=code)
    end.vault = bytes.fromhex(receipt["contractAddress"][2:])
    end.first_block = int(receipt["blockNumber"], 16)
    end.settings = _followed(settings, end.first_block)
    return end


def _followed(settings: ChainSettings, first_block: int) -> ChainSettings:
    from dataclasses import replace

    return replace(settings, follow_from=first_block)


def stolen(digest: bytes, keys: Sequence[bytes] = SIGNER_KEYS) -> list[bytes]:
    """Signatures as whoever has these keys would make them."""
    pairs = [(DigestKey(key).address, DigestKey(key).sign(digest)) for key in keys]
    return vault.sorted_signatures(pairs, len(keys))
