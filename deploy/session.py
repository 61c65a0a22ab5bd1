"""A connection to Ray with a system on it: a new local one, or one that runs already."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chain.rpc import JsonRpc
from deploy import datadir, devnet, logs, ray_environment, registry, watchdog
from deploy.environment import Environment
from deploy.platform import Platform
from deploy.replay import Replayed, replay
from deploy.runfile import RunFile
from deploy.settings import chain_settings, compose, sepolia_urls
from deploy.verify import Verdict, verify
from engine.settings import ChainSettings, Settings
from storage import postgres
from storage.events import EventStore

if TYPE_CHECKING:
    from deploy.system import System


@dataclass(frozen=True, slots=True)
class Session:
    """A system, its settings, and how others reach it."""

    settings: Settings
    system: "System"
    file: RunFile

    async def verify(self) -> Verdict:
        """Every market in memory against the contract, at the block below the node's head."""
        rise = self.settings.rise
        rpc = JsonRpc(rise.rpc_url, timeout_s=30.0)
        pool = await postgres.connect(self.settings.stores.database_url, size=1)
        try:
            # A buried block: a call at a node's newest one may see the next one's state.
            head = max(int(await rpc.call("eth_blockNumber", []), 16) - 1, 0)
            recorded = await EventStore(pool, rise.chain_id).launches()
            return await verify(
                calls=self.system.cluster,
                directory=await self.system.directory(),
                rpc=rpc,
                chain=rise,
                recorded=recorded,
                head=head,
            )
        finally:
            await pool.close()
            await rpc.close()

    async def replay(self, say: devnet.Say) -> Replayed:
        """Everything rebuilt from the chain and compared with memory and history."""
        return await replay(
            calls=self.system.cluster,
            directory=await self.system.directory(),
            chain=self.settings.rise,
            database_url=self.settings.stores.database_url,
            say=say,
        )


@contextlib.contextmanager
def local(carrier: Platform, say: devnet.Say) -> Iterator[Session]:
    """Start a Ray for this process, which ends with it."""
    from actors import handles  # noqa: PLC0415 (Ray reads its environment at import)
    from deploy.system import System  # noqa: PLC0415

    say("Ray starts")
    mark = ray_environment.marked()
    # Ray names its sessions by the pid of who began them.
    sessions = rf"{re.escape(str(carrier.ray_folder))}/session_[^/]*_{os.getpid()}"
    guard = _watchdog(mark, sessions)
    handles.connect(carrier.settings, temp_dir=carrier.ray_folder, log=logs.get("ray"))
    try:
        settings = carrier.settings
        file = RunFile(
            pid=os.getpid(),
            api_url=f"http://127.0.0.1:{settings.gateway.api_port}",
            ray_address=handles.address(),
            ray_folder=str(carrier.ray_folder),
            rise_rpc=settings.rise.rpc_url,
            rise_ws=settings.rise.ws_url,
            sepolia_rpc=settings.sepolia.rpc_url if settings.sepolia else "",
            sepolia_ws=settings.sepolia.ws_url if settings.sepolia else "",
            database_url=settings.stores.database_url,
            mongodb_url=settings.stores.mongodb_url,
            redis_url=settings.stores.redis_url,
            stream_url=_stream_url(settings),
        )
        yield Session(settings, System(settings), file)
    finally:
        handles.disconnect()
        watchdog.end(mark, sessions)  # agents, which do not notice that Ray's head has died
        guard.terminate()
        guard.wait()


@contextlib.contextmanager
def attached(environment: Environment, file: RunFile, data_dir: Path) -> Iterator[Session]:
    """Join the Ray of a running system."""
    from actors import handles  # noqa: PLC0415 (Ray reads its environment at import)
    from deploy.system import System  # noqa: PLC0415

    settings = _settings_of(environment, file, data_dir)
    with quiet():
        handles.join(settings, file.ray_address)
        try:
            yield Session(settings, System(settings), file)
        finally:
            handles.disconnect()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ray prints what its nodes complain of to standard output, which is for results."""
    with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink):
        yield


def _stream_url(settings: Settings) -> str:
    if not settings.actors.stream_gateways:
        return ""
    return f"ws://127.0.0.1:{settings.gateway.stream_port}/v1"


def _watchdog(mark: str, sessions: str) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C at the terminal and the death of ours do not reach it.
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-S", "-E", watchdog.__file__, str(os.getpid()), mark, sessions],
        env={},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )


def _settings_of(environment: Environment, file: RunFile, data_dir: Path) -> Settings:
    local = not environment.rise_chain_rpc
    urls = (file.rise_rpc, file.rise_ws)
    rise = _chain(environment, environment.rise_chain_id, urls=urls, data_dir=data_dir)
    sepolia = None
    if file.sepolia_rpc:
        urls = (file.sepolia_rpc, file.sepolia_ws)
        sepolia = _chain(environment, environment.sepolia_chain_id, urls=urls, data_dir=data_dir)
    return compose(
        environment,
        data_dir=data_dir,
        database_url=file.database_url,
        mongodb_url=file.mongodb_url,
        redis_url=file.redis_url,
        rise=rise,
        sepolia=sepolia,
        local=local,
    )


def _chain(
    environment: Environment, chain_id: int, *, urls: tuple[str, str], data_dir: Path
) -> ChainSettings:
    rise = chain_id == environment.rise_chain_id
    given_url = environment.rise_chain_rpc if rise else sepolia_urls(environment)[0]
    given_file = environment.deployments_file if rise else ""
    folder = datadir.clone_root() if given_url else data_dir
    path = Path(given_file) if given_url and given_file else registry.path(folder, chain_id)
    entry = registry.read(path, chain_id=chain_id)
    rpc_url, ws_url = urls
    return chain_settings(environment, entry, rpc_url=rpc_url, ws_url=ws_url, local=not given_url)
