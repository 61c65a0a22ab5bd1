"""The bridge's part of the composition root: its slots, and what each of its roles is built from.

The bridge runs where both chains have a vault and the node itself says what is final. Each
attestor is a process of its own, with one key that no other role is given.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from actors.attestor import Attestor
from actors.bridge_checker import BridgeChecker, CheckedEnd, Witness
from actors.bridge_health import BridgeHealth, routed
from actors.bridge_notices import BridgeNotices
from actors.following import Following
from actors.host import Context, Role
from actors.listener import ChainListener
from actors.relayer import End, Relayer
from actors.sending import Sending
from chain import vault
from chain.evidence import ChainEvidence
from chain.failover import Endpoint, FailoverRpc
from chain.guarded import GuardedRpc
from chain.nonces import AccountNonces
from chain.sender import Node
from chain.source import ChainSource
from chain.stream import LiveStreams
from chain.vault_history import VaultHistory
from chain.vault_logs import TOPICS, VaultDecoder
from chain.vault_view import VaultView
from deploy import bridge_endpoints, bridge_keys, logs
from deploy.adapters.nodes import nodes_at, nodes_of_chain
from deploy.adapters.redis import ticks_of
from deploy.bridge_slots import SLOTS
from deploy.feeding import feeding
from deploy.files import write_atomic
from deploy.settings import websocket_url
from engine.bridge.breaker import Rules
from engine.bridge.finality import FinalityGate
from engine.control import Directory, StatusWanted
from engine.messages import FeedPosition
from engine.settings import ChainSettings, Settings, VaultDeployment
from storage import postgres
from storage.attestations import Attestation, Attestations
from storage.bridge import BridgeEvents
from storage.bridge_beats import BridgeBeats
from storage.bridge_notices import BridgeNotices as StoredNotices
from storage.bridge_requests import BridgeRequests
from storage.bridge_sends import BridgeSends

GUARDIAN_WAIT_BLOCKS = 2.0
_NOWHERE = FeedPosition(-1, bytes(32))


async def vault_listener(context: Context) -> Role:
    """Follows one chain's vault, for the relayer."""
    settings, log = context.settings, _log(context)
    chain = followed(getattr(settings, SLOTS[context.slot]))
    pool = await _pool(settings, size=1)
    position = await BridgeEvents(pool).position(chain.chain_id)
    node = nodes_of_chain(chain, log)
    source = ChainSource(node, chain, topics=TOPICS, tag_only=True, warn=log.warning)
    built = _listener(chain, source, node, log=log)
    await built.start(position)
    return feeding(built, context.calls, log, status=source.status, close=node.close)


async def relayer(context: Context) -> Role:
    """Brings every final deposit to its end."""
    settings, log = context.settings, _log(context)
    logs.hide(settings.bridge.relayer_key)
    pool = await _pool(settings, size=8)
    history = BridgeEvents(pool)
    ends = {}
    for slot, name in SLOTS.items():
        end = _relayer_end(
            context, followed(getattr(settings, name)), slot, shared=(pool, history, log)
        )
        ends[end.chain_id] = end
    notices = BridgeNotices(notices=StoredNotices(pool), ticks=ticks_of(settings), log=log)
    built = Relayer(
        ends=ends,
        history=history,
        requests=BridgeRequests(pool),
        codec=vault,
        calls=context.calls,
        settings=settings.bridge,
        log=log,
        moved=notices.wake,
    )
    health = BridgeHealth(
        name=context.slot,
        relayer=built,
        vaults={chain_id: end.vault for chain_id, end in ends.items()},
        beats=BridgeBeats(pool),
        calls=context.calls,
        log=log,
    )

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(built.run())
            tasks.create_task(notices.run())
            tasks.create_task(health.run())

    def status(message: StatusWanted) -> dict[str, Any]:
        return {**built.handlers[StatusWanted](message), "steps_told": notices.told}

    route = routed(built.handlers[Directory], health)
    own: dict[type, Callable[[Any], Any]] = {StatusWanted: status, Directory: route}
    return Role(handlers={**built.handlers, **own}, run=run, log=log)


async def attestor(context: Context) -> Role:
    """One key of the signer set, on endpoints of its own."""
    settings, log = context.settings, _log(context)
    key = await asyncio.to_thread(bridge_keys.attestor, settings, context.slot)
    memory = Attestations(Path(settings.data_dir) / "attestors" / context.slot, signer=key.address)
    halted = memory.opened()
    if halted is not None:
        log.error("attestor_halted", reason=halted)
    chains = {name: followed(getattr(settings, name)) for name in SLOTS.values()}
    evidence = {
        # It is shown its own lists only, so that they are the first.
        chain.chain_id: _evidence(
            settings, chain, bridge_endpoints.of_attestor(settings, name, 0), log=log
        )
        for name, chain in chains.items()
    }
    built = Attestor(
        key=key,
        vaults={chain.chain_id: _vault(chain).address for chain in chains.values()},
        evidence=evidence,
        memory=memory,
        entry=Attestation,
        digests=vault,
        log=log,
        quorum=settings.bridge.attest_quorum,
    )
    return Role(handlers=built.handlers, run=built.run, log=log)


async def bridge_checker(context: Context) -> Role:
    """Holds every payment against the other chain, and pauses both vaults."""
    settings, log = context.settings, _log(context)
    logs.hide(settings.bridge.guardian_key)
    chains = {name: followed(getattr(settings, name)) for name in SLOTS.values()}
    ids = [chain.chain_id for chain in chains.values()]
    folder = Path(settings.data_dir) / "bridge-checker"
    folder.mkdir(parents=True, exist_ok=True)
    listeners: dict[int, ChainListener[Any]] = {}
    ends: dict[int, CheckedEnd] = {}
    for (name, chain), other in zip(chains.items(), reversed(ids), strict=True):
        urls = bridge_endpoints.of_checker(settings, name)
        node = nodes_at([_endpoint(chain, url) for url in urls], chain, log)
        source = ChainSource(node, chain, topics=TOPICS, tag_only=True, warn=log.warning)
        listeners[chain.chain_id] = _listener(chain, source, node, log=log)
        end = _checked(settings, chain, (node, source, listeners[chain.chain_id]), other=other)
        end.witnesses = _witnesses(settings, chain, urls)
        end.position = await _saved(folder, chain.chain_id, source)
        ends[chain.chain_id] = end
    built = BridgeChecker(
        ends=ends,
        pause=vault.pause(),
        cancel=vault.cancel_queued,
        save=partial(_save, folder),
        log=log,
    )
    for chain_id, listener in listeners.items():
        await listener.start(ends[chain_id].position)
        listener.subscribe("checker", built.take, None, position=ends[chain_id].position)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(built.run())
            for listener in listeners.values():
                tasks.create_task(listener.run())

    return Role(handlers=built.handlers, run=run, log=log)


def followed(chain: ChainSettings) -> ChainSettings:
    """The chain as its vault's followers see it."""
    from dataclasses import replace  # noqa: PLC0415

    return replace(chain, follow_from=_vault(chain).first_block)


# ------------------------------------------------------------------------ parts


def _vault(chain: ChainSettings) -> VaultDeployment:
    assert chain.vault is not None, f"Expected a vault on chain {chain.chain_id}"
    return chain.vault


def _relayer_end(context: Context, chain: ChainSettings, slot: str, *, shared: Any) -> End:
    from chain.account import TransactionAccount  # noqa: PLC0415 (30 MB that few roles need)

    pool, history, log = shared
    bridge = context.settings.bridge
    rpc = GuardedRpc(
        nodes_of_chain(chain, log),
        rules=_rules(context.settings),
        changed=lambda state: log.warning("breaker", chain_id=chain.chain_id, state=state),
    )
    node = Node(rpc, chain)
    return End(
        chain_id=chain.chain_id,
        vault=VaultView(node, address=_vault(chain).address),
        node=node,
        sending=Sending(
            chain_id=chain.chain_id,
            account=TransactionAccount(bridge.relayer_key, chain_id=chain.chain_id),
            node=node,
            nonces=_nonces(context.settings, chain),
            finality=ChainSource(rpc, chain, topics=TOPICS, tag_only=True),
            store=BridgeSends(pool),
            log=log,
            cap_wei=bridge.fee_cap_gwei * 10**9,
            patience_s=bridge.patience_blocks * chain.block_time_s,
            pause_s=chain.block_time_s / 2,
        ),
        following=Following(
            consumer=context.name,
            slot=slot,
            block_time_s=chain.block_time_s,
            position=partial(history.position, chain.chain_id),
            trail=partial(history.trail, chain.chain_id),
            calls=context.calls,
            log=log,
        ),
        gate=FinalityGate(chain.chain_id, bridge.finality_patience_s),
        breaker=lambda: rpc.state,
    )


def _endpoints(
    settings: Settings, chain: ChainSettings, urls: Sequence[str]
) -> Iterator[GuardedRpc]:
    # Each host by itself, so that none speaks for another; one that is away costs no time.
    for own in bridge_endpoints.by_place(urls).values():
        inner = FailoverRpc([Endpoint(url) for url in own], timeout_s=chain.rpc_timeout_s)
        yield GuardedRpc(inner, rules=_rules(settings))


def _endpoint(chain: ChainSettings, url: str) -> Endpoint:
    known = {chain.rpc_url_2: chain.ws_url_2, chain.rpc_url: chain.ws_url}
    return Endpoint(url, known[url] if url in known else websocket_url(url))


def _rules(settings: Settings) -> Rules:
    bridge = settings.bridge
    return Rules(
        failures_max=bridge.breaker_failures_max,
        window_s=bridge.breaker_window_s,
        cool_down_s_max=bridge.breaker_cool_down_s_max,
    )


def _nonces(settings: Settings, chain: ChainSettings) -> AccountNonces:
    endpoints = _endpoints(settings, chain, bridge_endpoints.shared(chain))
    return AccountNonces([Node(one, chain) for one in endpoints])


def _evidence(
    settings: Settings, chain: ChainSettings, urls: Sequence[str], *, log: Any
) -> list[ChainEvidence]:
    one = _vault(chain)
    return [
        ChainEvidence(
            ChainSource(
                rpc, chain, topics=TOPICS, tag_only=True, warn=log.bind(endpoint=at).warning
            ),
            VaultDecoder(chain.chain_id, one.address, one.version),
            VaultView(Node(rpc, chain), address=one.address),
        )
        for at, rpc in enumerate(_endpoints(settings, chain, urls))
    ]


def _witnesses(settings: Settings, chain: ChainSettings, urls: Sequence[str]) -> list[Witness]:
    one = _vault(chain)
    decoder = VaultDecoder(chain.chain_id, one.address, one.version)
    found = [
        Witness(
            vault=VaultView(Node(rpc, chain), address=one.address),
            deposits=VaultHistory(rpc, decoder, vault=one.address, first_block=one.first_block),
            head_of=partial(_head_of, ChainSource(rpc, chain, topics=TOPICS)),
        )
        for rpc in _endpoints(settings, chain, urls)
    ]
    return found if len(found) > 1 else []


async def _head_of(source: ChainSource) -> int:
    return (await source.head()).number


def _checked(settings: Settings, chain: ChainSettings, ports: Any, *, other: int) -> CheckedEnd:
    from chain.payer import Payer  # noqa: PLC0415 (30 MB that few roles need)

    rpc, source, listener = ports
    node, one = Node(rpc, chain), _vault(chain)
    decoder = VaultDecoder(chain.chain_id, one.address, one.version)

    async def hash_of(number: int) -> bytes:
        (header,) = await source.headers(number, number)
        return bytes(header.hash)

    return CheckedEnd(
        chain_id=chain.chain_id,
        vault=VaultView(node, address=one.address),
        deposits=VaultHistory(rpc, decoder, vault=one.address, first_block=one.first_block),
        guardian=Payer(
            node,
            private_key=settings.bridge.guardian_key,
            chain_id=chain.chain_id,
            wait_s=GUARDIAN_WAIT_BLOCKS * chain.block_time_s,
        ),
        hash_of=hash_of,
        fresh=lambda: bool(listener.fresh),
        position=_NOWHERE,
        other=other,
    )


def _listener(
    chain: ChainSettings, source: ChainSource, node: FailoverRpc, *, log: Any
) -> ChainListener[Any]:
    return ChainListener(
        chain=chain,
        source=source,
        stream_factory=LiveStreams(lambda: node.ws_url, TOPICS, timeout_s=chain.rpc_timeout_s),
        decoder=VaultDecoder(chain.chain_id, _vault(chain).address, _vault(chain).version),
        log=log,
    )


async def _saved(folder: Path, chain_id: int, source: ChainSource) -> FeedPosition:
    # Only where it is still the chain's: else everything is looked at from the beginning.
    try:
        document = orjson.loads((folder / f"{chain_id}.json").read_bytes())
        position = FeedPosition(document["number"], bytes.fromhex(document["hash"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _NOWHERE
    header = await source.header(position.number)
    return position if header is not None and header.hash == position.hash else _NOWHERE


def _save(folder: Path, chain_id: int, position: FeedPosition) -> None:
    content = orjson.dumps({"number": position.number, "hash": position.hash.hex()})
    write_atomic(folder / f"{chain_id}.json", content)


async def _pool(settings: Settings, *, size: int) -> "postgres.Pool":
    stores = settings.stores
    return await postgres.connect(stores.database_url, size=size, timeout_s=stores.timeout_s)


def _log(context: Context) -> Any:
    logs.configure(context.settings.logs)
    return logs.get(context.role).bind(slot=context.slot)
