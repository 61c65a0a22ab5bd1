"""Real keys that launch and trade on a real launchpad, and what a listener must make of it."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from eth_account import Account
from eth_account.signers.local import LocalAccount

from chain import transactions
from chain.decode import Decoder
from chain.deployer import deploy
from chain.rpc import JsonRpc
from chain.sender import Node, Receipt
from chain.source import ChainSource
from engine.messages import Block, ChainEvent, FeedBatch, FeedPosition, Reorg
from engine.settings import ChainSettings, Deployment
from tests.support.chain_settings import settings
from tests.support.servers import Anvil

FOREVER = 2**60


def _raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


async def deployed(anvil: Anvil, **fields: object) -> tuple[ChainSettings, bytes]:
    """Settings of a chain with a fresh launchpad, and the token implementation."""
    rpc = JsonRpc(anvil.rpc_url, timeout_s=30)
    try:
        entry = await deploy(rpc, chain_id=anvil.chain_id, private_key=anvil.keys()[0])
    finally:
        await rpc.close()
    pad = entry["launchpads"][0]
    launchpad = Deployment(
        address=_raw(pad["address"]),
        lens=_raw(pad["lens"]),
        first_block=pad["firstBlock"],
        version=pad["version"],
    )
    common: dict[str, object] = {
        "chain_id": anvil.chain_id,
        "rpc_url": anvil.rpc_url,
        "ws_url": anvil.ws_url,
        "launchpads": (launchpad,),
        "weth": _raw(entry["weth"]),
    }
    return settings(**(common | fields)), _raw(pad["tokenImplementation"])


@dataclass
class Wallet:
    """A key with its own nonce, so that many transactions may wait at once."""

    account: LocalAccount
    node: Node
    chain: ChainSettings
    next_nonce: int | None = None

    @property
    def address(self) -> bytes:
        return _raw(self.account.address)

    async def sign(self, data: bytes, *, value: int = 0, gas: int = 500_000) -> bytes:
        if self.next_nonce is None:
            self.next_nonce = await self.node.nonce(self.address)
        transaction = transactions.unsigned(
            chain_id=self.chain.chain_id,
            sender=self.address,
            to=self.chain.launchpad.address,
            data=data,
            value=value,
            gas=gas,
            max_fee=10**11,
            max_priority_fee=1,
        )
        self.next_nonce += 1
        signed = self.account.sign_transaction(
            {**transaction, "type": 2, "nonce": self.next_nonce - 1}
        )
        return bytes(signed.raw_transaction)


@dataclass
class Traders:
    """`launch`, then `trade`; transactions are sent without waiting for each other."""

    anvil: Anvil
    chain: ChainSettings
    implementation: bytes
    wallets: list[Wallet] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rpc = JsonRpc(self.anvil.rpc_url, timeout_s=30)
        self.node = Node(self.rpc, self.chain)
        self.random = random.Random(5)
        for key in self.anvil.keys()[1:]:
            self.wallets.append(Wallet(Account.from_key(key), self.node, self.chain))

    async def launch(self, name: str, curve_id: int = 0) -> bytes:
        wallet, salt = self.wallets[0], name.encode().ljust(32, b"\0")
        data = transactions.create(
            name=name, symbol=name[:5], metadata_hash=salt, salt=salt, curve_id=curve_id,
            min_tokens=0, deadline=FOREVER,
        )  # fmt: skip
        raw = await wallet.sign(data, value=10**16, gas=6_000_000)
        receipt = await self.node.send_raw_sync(raw, 20.0)
        assert receipt is not None and receipt.status == 1
        self.hashes.append(receipt.tx_hash)
        token = transactions.token_address(
            launchpad=self.chain.launchpad.address,
            creator=wallet.address,
            salt=salt,
            init_hash=transactions.clone_init_hash(self.implementation),
        )
        assert await self.node.code(token)
        self.tokens.append(token)
        return token

    async def trade(self, count: int) -> None:
        """Send `count` buys of random tokens by random keys."""
        for _ in range(count):
            wallet = self.random.choice(self.wallets)
            data = transactions.buy(
                token=self.random.choice(self.tokens),
                min_tokens=0,
                recipient=wallet.address,
                deadline=FOREVER,
            )
            raw = await wallet.sign(data, value=self.random.randrange(10**12, 10**15))
            self.hashes.append(await self.node.send_raw(raw))

    async def settled(self) -> list[Receipt]:
        """Receipts of everything sent, once all is mined."""
        return [await self._receipt(tx_hash) for tx_hash in self.hashes]

    async def truth(self) -> list[ChainEvent]:
        """All events of the chain, read from receipts alone."""
        source, decoder = ChainSource(self.rpc, self.chain), Decoder(self.chain)
        events: list[ChainEvent] = []
        head = await source.head()
        for header in await source.headers(self.chain.first_block, head.number):
            logs = await source.receipt_logs(header)
            events.extend(decoder.decode(logs, block_time=header.timestamp))
        return events

    async def _receipt(self, tx_hash: bytes) -> Receipt:
        deadline = time.monotonic() + 20
        while (receipt := await self.node.receipt(tx_hash)) is None:
            assert time.monotonic() < deadline, "Expected it mined"
            await asyncio.sleep(0.05)
        return receipt


class Collector:
    """A consumer that keeps every block and when it came."""

    def __init__(self) -> None:
        self.position = FeedPosition(-1, bytes(32))
        self.blocks: list[Block] = []
        self.reorgs: list[int] = []
        self.arrived_ns: list[int] = []

    async def __call__(self, batch: FeedBatch) -> FeedPosition:
        now = time.time_ns()
        if batch.after == self.position:
            for message in batch.messages:
                if isinstance(message, Block):
                    self.blocks.append(message)
                    self.arrived_ns.append(now)
                    self.position = FeedPosition(message.header.number, message.header.hash)
                elif isinstance(message, Reorg):
                    self._go_back(FeedPosition(message.ancestor_number, message.ancestor_hash))
        return self.position

    def _go_back(self, ancestor: FeedPosition) -> None:
        kept = [block for block in self.blocks if block.header.number <= ancestor.number]
        del self.arrived_ns[len(kept) :]
        self.blocks, self.position = kept, ancestor
        self.reorgs.append(ancestor.number)

    @property
    def events(self) -> list[ChainEvent]:
        return [event for block in self.blocks for event in block.events]

    def latencies_ms(self) -> Sequence[float]:
        """Socket to consumer, of live blocks with events."""
        pairs = zip(self.blocks, self.arrived_ns, strict=True)
        return sorted((at - b.received_ns) / 1e6 for b, at in pairs if b.received_ns and b.events)
