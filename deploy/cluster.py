"""A system on a Ray cluster that outlives the command: RAY_ADDRESS says where it is.

Its actors are detached and may run on any node, so what they stand on must be outside of
the command and reached by all nodes: stores and chain by URL, nothing embedded.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from deploy import datadir, ray_environment, registry
from deploy.environment import Environment
from deploy.process import StartError
from deploy.runfile import RunFile
from deploy.session import Session, quiet
from deploy.settings import chain_settings, compose, rise_urls, sepolia_urls
from engine.settings import ChainSettings, Settings

OUTSIDE = ("database_url", "mongodb_url", "redis_url", "rise_chain_rpc")


@contextlib.contextmanager
def joined(environment: Environment, data_dir: Path) -> Iterator[Session]:
    """Join the cluster at RAY_ADDRESS. Raises StartError with one sentence: a URL is missing;
    TransientError: no Ray answers there.
    """
    settings = settings_of(environment, data_dir)
    ray_environment.prepare(data_dir, shared=True)
    from actors import handles  # noqa: PLC0415 (Ray reads its environment at import)
    from deploy.system import System  # noqa: PLC0415

    with quiet():
        handles.join(settings, environment.ray_address)
        try:
            yield Session(settings, System(settings), _file(settings))
        finally:
            handles.disconnect()


def settings_of(environment: Environment, data_dir: Path) -> Settings:
    """What the roles need, from the environment alone. Raises StartError."""
    missing = [name.upper() for name in OUTSIDE if not getattr(environment, name)]
    if missing:
        raise StartError(
            f"On a Ray cluster nothing is embedded; set {', '.join(missing)}"
            " to URLs that every node reaches."
        )
    rise = _chain(environment, environment.rise_chain_id, urls=rise_urls(environment))
    urls = sepolia_urls(environment)
    sepolia = _chain(environment, environment.sepolia_chain_id, urls=urls) if urls[0] else None
    return compose(
        environment,
        data_dir=data_dir,
        database_url=environment.database_url,
        mongodb_url=environment.mongodb_url,
        redis_url=environment.redis_url,
        rise=rise,
        sepolia=sepolia,
    )


def _chain(environment: Environment, chain_id: int, *, urls: tuple[str, str]) -> ChainSettings:
    given = environment.deployments_file if chain_id == environment.rise_chain_id else ""
    file = Path(given) if given else registry.path(datadir.clone_root(), chain_id)
    entry = registry.read(file, chain_id=chain_id)
    return chain_settings(environment, entry, rpc_url=urls[0], ws_url=urls[1], local=False)


def _file(settings: Settings) -> RunFile:
    stores, rise, sepolia = settings.stores, settings.rise, settings.sepolia
    return RunFile(
        pid=0,
        api_url=settings.gateway.public_url,
        ray_address=settings.actors.ray_address,
        ray_folder="",
        rise_rpc=rise.rpc_url,
        rise_ws=rise.ws_url,
        sepolia_rpc=sepolia.rpc_url if sepolia else "",
        sepolia_ws=sepolia.ws_url if sepolia else "",
        database_url=stores.database_url,
        mongodb_url=stores.mongodb_url,
        redis_url=stores.redis_url,
    )
