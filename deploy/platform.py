"""What the roles stand on: servers, chains, contracts, settings. Brought up in that order.

Everything without a URL in the environment is an embedded real server of this process;
they are started in the main thread and end with it.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy import datadir, devnet, logs, process
from deploy.devnet import Chain, Say
from deploy.embedded import Embedded
from deploy.environment import Environment
from deploy.process import Server
from deploy.settings import chain_settings, compose, secret_values
from engine.settings import ChainSettings, Settings
from storage import postgres


@dataclass(frozen=True, slots=True)
class Platform:
    """Ready to carry roles. `ray_folder` is short, since it holds Unix sockets."""

    settings: Settings
    environment: Environment
    data_dir: Path
    ray_folder: Path
    local_chain: bool
    servers: Mapping[str, Server]
    chain_folders: Sequence[Path]


@contextmanager
def opened(environment: Environment, data_dir: Path, say: Say) -> Iterator[Platform]:
    """Bring the platform up; ends its servers. Raises StartError with one sentence."""
    process.choose_port("the API (API_PORT)", environment.api_port or None)
    if environment.stream_gateways:
        process.choose_port("the stream door (STREAM_PORT)", environment.stream_port or None)
    if not environment.log_dir:
        environment = environment.model_copy(update={"log_dir": str(data_dir / "logs")})
    with datadir.held(data_dir), Embedded(data_dir, say=say) as embedded:
        urls = _stores(environment, embedded, say)
        chains = devnet.start(environment, embedded, say)
        rise = _chain(environment, chains.rise, data_dir=data_dir, say=say)
        sepolia = (
            _chain(environment, chains.sepolia, data_dir=data_dir, say=say)
            if chains.sepolia
            else None
        )
        settings = compose(
            environment,
            data_dir=data_dir,
            rise=rise,
            sepolia=sepolia,
            local=chains.rise.local,
            **urls,
        )
        logs.hide(*secret_values(environment))
        say("the database schema is brought up to date")
        asyncio.run(migrate(settings.stores.database_url))
        ray_folder = datadir.ray_folder(data_dir)
        datadir.forget_sessions(ray_folder)
        yield Platform(
            settings=settings,
            environment=environment,
            data_dir=data_dir,
            ray_folder=ray_folder,
            local_chain=chains.rise.local,
            servers=embedded.servers,
            chain_folders=embedded.chain_folders,
        )


async def migrate(database_url: str) -> list[str]:
    """Apply what is missing, under an advisory lock; the names of what was applied."""
    pool = await postgres.connect(database_url, size=1)
    try:
        return await postgres.migrate(pool)
    finally:
        await pool.close()


def _stores(environment: Environment, embedded: Embedded, say: Say) -> dict[str, str]:
    given = {
        "database_url": (environment.database_url, "PostgreSQL", embedded.start_postgres),
        "mongodb_url": (environment.mongodb_url, "MongoDB", embedded.start_mongod),
        "redis_url": (environment.redis_url, "Valkey", embedded.start_valkey),
    }
    urls = {}
    for name, (url, title, start) in given.items():
        if not url:
            say(f"{title} starts on loopback")
        urls[name] = url or start()
    return urls


def _chain(environment: Environment, chain: Chain, *, data_dir: Path, say: Say) -> ChainSettings:
    entry = asyncio.run(
        devnet.registry_of(chain, environment=environment, data_dir=data_dir, say=say)
    )
    return chain_settings(
        environment, entry, rpc_url=chain.rpc_url, ws_url=chain.ws_url, local=chain.local
    )
