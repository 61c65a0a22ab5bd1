"""The bridge's roles on two chains: listeners, attestors, any number of relayers, the checker.

`World.relayer` and `World.attestor` build one from what is durable; `alive` keeps one there
however often it dies. The ledger of attestations is kept beside the attestors, asked of the
node at the moment a signature is about to leave.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from actors.attestor import Attestor
from actors.bridge_checker import BridgeChecker, CheckedEnd, Witness
from actors.following import Following
from actors.listener import ChainListener
from actors.relayer import End as RelayerEnd
from actors.relayer import Relayer
from actors.sending import Sending
from chain import vault
from chain.account import DigestKey, TransactionAccount
from chain.evidence import ChainEvidence
from chain.guarded import GuardedRpc
from chain.nonces import AccountNonces
from chain.payer import Payer
from chain.rpc import JsonRpc
from chain.sender import Node
from chain.source import ChainSource
from chain.stream import LiveStream
from chain.vault_history import VaultHistory
from chain.vault_logs import TOPICS, VaultDecoder
from chain.vault_view import VaultView
from engine.bridge.control import Attest, Attested
from engine.bridge.finality import FinalityGate
from engine.control import Feed, Follow, Unfollow
from engine.errors import RiseCurveError
from engine.messages import FeedBatch, FeedPosition
from engine.settings import BridgeSettings
from storage import postgres
from storage.attestations import Attestation, Attestations
from storage.bridge import BridgeEvents
from storage.bridge_requests import BridgeRequests
from storage.bridge_sends import BridgeSends
from tests.bridge.chains import GUARDIAN_KEY, RELAYER_KEY, SIGNER_KEYS, Chains, End
from tests.bridge.town import Cut, Killed, Killer, Town

WATCH_S = 0.5
SETTINGS = BridgeSettings(
    retry_s_min=0.1,
    retry_s_max=1.0,
    look_again_s=1.0,
    idle_s=0.05,
    finality_patience_s=60.0,
    patience_blocks=6.0,
)


@dataclass
class Makers:
    """What is built from which class, so that a test can plant a bug."""

    sends: Callable[..., Any] = BridgeSends
    requests: Callable[..., Any] = BridgeRequests
    history: Callable[..., Any] = BridgeEvents
    sending: Callable[..., Any] = Sending
    memory: Callable[..., Any] = Attestations
    evidence: Callable[..., Any] = ChainEvidence
    attestor: Callable[..., Any] = Attestor


@dataclass
class World:
    """One run. `attested` is (chain, block, hash, the node's finalised block then)."""

    chains: Chains
    pool: Any
    folder: Path
    rng: random.Random
    makers: Makers = field(default_factory=Makers)
    settings: BridgeSettings = SETTINGS
    town: Town = field(default_factory=Town)
    attested: list[tuple[int, int, bytes, int]] = field(default_factory=list)
    deaths: dict[str, int] = field(default_factory=dict)
    log: Any = field(default_factory=lambda: structlog.get_logger("bridge"))
    checker: BridgeChecker | None = None
    relayers: dict[str, Relayer] = field(default_factory=dict)
    clients: list[JsonRpc] = field(default_factory=list)
    listeners: dict[int, ChainListener[Any]] = field(default_factory=dict)
    attestors: dict[str, Attestor] = field(default_factory=dict)
    endpoints: dict[int, list[str]] = field(default_factory=dict)
    """URLs of a chain for attestors and checker, where they are not the chain's own one."""
    keys: list[bytes] = field(default_factory=lambda: list(SIGNER_KEYS))
    """The attestors', by number."""

    def client(self, end: End) -> JsonRpc:
        """A connection of its own, closed with the world."""
        made = JsonRpc(end.settings.rpc_url, timeout_s=5.0)
        self.clients.append(made)
        return made

    def clients_of(self, end: End) -> list[JsonRpc]:
        """One to each endpoint that this world's attestors and checker have of a chain."""
        urls = self.endpoints.get(end.chain_id, [end.settings.rpc_url])
        made = [JsonRpc(url, timeout_s=5.0) for url in urls]
        self.clients += made
        return made

    # ------------------------------------------------------------------ listeners

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """A listener for each chain, in the town."""
        async with AsyncExitStack() as stack:
            for end in self.chains.ends.values():
                await stack.enter_async_context(self._listener(end))
            yield

    @asynccontextmanager
    async def _listener(self, end: End) -> AsyncIterator[None]:
        async with _followed(end, self.log) as built:
            self.listeners[end.chain_id] = built

            async def send(consumer: str, group: str, batch: FeedBatch) -> FeedPosition:
                answer = await self.town.ask(consumer, Feed(group, batch), timeout_s=5.0)
                assert isinstance(answer, FeedPosition)
                return answer

            def follow(message: Follow) -> None:
                built.subscribe(
                    f"{message.consumer}:{message.group}",
                    partial(send, message.consumer, message.group),
                    message.buckets,
                    position=message.position,
                    trail=message.trail,
                )

            def unfollow(message: Unfollow) -> None:
                built.unsubscribe(f"{message.consumer}:{message.group}")

            slot = _slot(end)
            handlers = {Follow: follow, Unfollow: unfollow}
            self.town.enter(slot, slot=slot, role="vault_listener", handlers=handlers)
            try:
                yield
            finally:
                self.town.leave(slot)

    # ------------------------------------------------------------------ attestors

    def attestor(self, index: int, chances: Mapping[str, float]) -> Attestor:
        """One that is there, made from its key and its folder."""
        name = f"attestor-{index}"
        killer = Killer(name, self.rng, chances)
        key = DigestKey(self.keys[index])
        memory = self.makers.memory(self.folder / name, signer=key.address)
        memory.opened()
        kept = _Kept(memory, self)
        evidence = {
            end.chain_id: [
                self.makers.evidence(
                    ChainSource(rpc, end.settings, topics=TOPICS, tag_only=True),
                    VaultDecoder(end.chain_id, end.vault),
                    VaultView(Node(rpc, end.settings), address=end.vault),
                )
                for rpc in self.clients_of(end)
            ]
            for end in self.chains.ends.values()
        }
        built = self.makers.attestor(
            key=key,
            vaults=self.chains.vaults,
            evidence=evidence,
            memory=Cut(kept, killer),
            entry=Attestation,
            digests=vault,
            log=self.log,
            watch_every_s=WATCH_S,
        )
        self.attestors[name] = built

        async def attest(asked: Attest) -> Any:
            try:
                answer = await built.attest(asked)
                killer.at("answer")
                return answer
            except Killed:
                # Its successor is there at once; this call, and all that went on, has no answer.
                if self.attestors[name] is built:
                    self._died(killer)
                    self.attestor(index, chances)
                raise

        self.town.enter(
            name, slot=name, role="attestor", handlers=built.handlers | {Attest: attest}
        )
        return built

    async def watch(self, name: str) -> None:
        """Whoever is the attestor of this name looks at its blocks, until cancelled."""
        while True:
            with contextlib.suppress(RiseCurveError, Killed):
                await self.attestors[name].watch()
            await asyncio.sleep(WATCH_S)

    # ------------------------------------------------------------------- relayers

    def relayer(self, name: str, chances: Mapping[str, float]) -> tuple[Relayer, Killer]:
        """One that is in the town, its `run` not called."""
        killer = Killer(name, self.rng, chances)
        history = Cut(self.makers.history(self.pool), killer)
        ends = {
            end.chain_id: self._relayer_end(name, end, history, killer)
            for end in self.chains.ends.values()
        }
        built = Relayer(
            ends=ends,
            history=history,
            requests=Cut(self.makers.requests(self.pool, lease_s=1.0), killer),
            codec=vault,
            calls=self.town,
            settings=self.settings,
            log=self.log,
        )
        self.relayers[name] = built
        self.town.enter(name, slot=name, role="relayer", handlers=built.handlers)
        return built, killer

    def _relayer_end(self, name: str, end: End, history: Any, killer: Killer) -> RelayerEnd:
        rpc = GuardedRpc(self.client(end))
        node = Cut(Node(rpc, end.settings), killer)
        source = ChainSource(rpc, end.settings, topics=TOPICS, tag_only=True)
        account = TransactionAccount(RELAYER_KEY, chain_id=end.chain_id)
        return RelayerEnd(
            chain_id=end.chain_id,
            vault=VaultView(node, address=end.vault),
            node=node,
            sending=self.makers.sending(
                chain_id=end.chain_id,
                account=Cut(account, killer),
                node=node,
                nonces=AccountNonces([node]),
                finality=source,
                store=Cut(self.makers.sends(self.pool), killer),
                log=self.log,
                cap_wei=self.settings.fee_cap_gwei * 10**9,
                patience_s=self.settings.patience_blocks * end.settings.block_time_s,
                pause_s=end.settings.block_time_s,
            ),
            following=Following(
                consumer=name,
                slot=_slot(end),
                block_time_s=1.0,
                position=partial(history.position, end.chain_id),
                trail=partial(history.trail, end.chain_id),
                calls=self.town,
                log=self.log,
            ),
            gate=FinalityGate(end.chain_id, self.settings.finality_patience_s),
            breaker=lambda: rpc.state,
        )

    async def alive(self, name: str, chances: Mapping[str, float]) -> None:
        """A relayer of this name runs until this is cancelled, however often it dies."""
        while True:
            built, killer = self.relayer(name, chances)
            task = asyncio.create_task(built.run())
            try:
                await _until_dead(task, killer)
            finally:
                self.town.leave(name)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self._died(killer)
            await asyncio.sleep(self.rng.uniform(0.0, 0.2))

    def _died(self, killer: Killer) -> None:
        role = killer.name.split("-")[0]
        point = f"{role} {killer.died_at}"
        self.deaths[point] = self.deaths.get(point, 0) + 1

    # -------------------------------------------------------------------- checker

    @asynccontextmanager
    async def checking(self) -> AsyncIterator[BridgeChecker]:
        """The checker over listeners and nodes of its own."""
        async with AsyncExitStack() as stack:
            ends: dict[int, CheckedEnd] = {}
            listeners = {}
            for end in self.chains.ends.values():
                listeners[end.chain_id] = await stack.enter_async_context(_followed(end, self.log))
                ends[end.chain_id] = self._checked(end, listeners[end.chain_id])
            built = BridgeChecker(
                ends=ends,
                pause=vault.pause(),
                cancel=vault.cancel_queued,
                save=lambda *_: None,
                log=self.log,
            )
            for chain_id, listener in listeners.items():
                listener.subscribe("checker", built.take, None, position=ends[chain_id].position)
            task = asyncio.create_task(built.run())
            self.checker = built
            try:
                yield built
                if task.done():
                    task.result()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _checked(self, end: End, listener: ChainListener[Any]) -> CheckedEnd:
        rpc = self.client(end)
        node = Node(rpc, end.settings)
        decoder = VaultDecoder(end.chain_id, end.vault)
        witnesses = [
            Witness(
                vault=VaultView(Node(one, end.settings), address=end.vault),
                deposits=VaultHistory(one, decoder, vault=end.vault, first_block=end.first_block),
                head_of=partial(_head_of, ChainSource(one, end.settings)),
            )
            for one in self.clients_of(end)
        ]
        return CheckedEnd(
            chain_id=end.chain_id,
            vault=VaultView(node, address=end.vault),
            deposits=VaultHistory(rpc, decoder, vault=end.vault, first_block=end.first_block),
            guardian=Payer(
                node, private_key="0x" + GUARDIAN_KEY.hex(), chain_id=end.chain_id, wait_s=0.5
            ),
            hash_of=partial(_hash_of, ChainSource(rpc, end.settings)),
            fresh=lambda: listener.fresh,
            position=FeedPosition(-1, bytes(32)),
            other=self.chains.other(end.chain_id).chain_id,
            witnesses=witnesses if len(witnesses) > 1 else (),
        )


class _Kept:
    """The journal, with what the node calls final at the moment of each entry."""

    def __init__(self, memory: Any, world: World) -> None:
        self._memory = memory
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def append(self, entry: Attestation) -> None:
        from deploy.embedded import rpc

        url = self._world.chains[entry.chain_id].settings.rpc_url
        block = None
        while block is None:  # as anvil has it while it reorganises
            block = rpc(url, "eth_getBlockByNumber", "finalized", False)
        final = int(block["number"], 16)
        place = (entry.chain_id, entry.block_number, entry.block_hash, final)
        self._world.attested.append(place)
        self._memory.append(entry)


@asynccontextmanager
async def _followed(end: End, log: Any) -> AsyncIterator[ChainListener[Any]]:
    rpc = JsonRpc(end.settings.rpc_url, timeout_s=5.0)
    source = ChainSource(rpc, end.settings, topics=TOPICS, tag_only=True)
    built: ChainListener[Any] = ChainListener(
        chain=end.settings,
        source=source,
        stream_factory=lambda: LiveStream(end.settings.ws_url, TOPICS),
        decoder=VaultDecoder(end.chain_id, end.vault),
        log=log,
    )
    await built.start(FeedPosition(-1, bytes(32)))
    try:
        yield built
    finally:
        await built.stop()
        await rpc.close()


async def _hash_of(source: ChainSource, number: int) -> bytes:
    (header,) = await source.headers(number, number)
    return header.hash


async def _head_of(source: ChainSource) -> int:
    return (await source.head()).number


async def _until_dead(task: "asyncio.Task[None]", killer: Killer) -> None:
    while killer.died_at is None:
        await asyncio.sleep(0.02)
        if task.done() and killer.died_at is None:
            task.result()
            raise AssertionError("Expected a relayer that runs")


def _slot(end: End) -> str:
    return f"vault-{end.chain_id}"


@asynccontextmanager
async def built(
    chains: Chains, url: str, folder: Path, rng: random.Random, **options: Any
) -> AsyncIterator[World]:
    """A world over a migrated database."""
    pool = await postgres.connect(url, size=16)
    await postgres.migrate(pool)
    world = World(chains, pool, folder, rng, **options)
    try:
        yield world
    finally:
        for client in world.clients:
            await client.close()
        pool.terminate()


__all__ = ["Attested", "Makers", "World", "built"]
