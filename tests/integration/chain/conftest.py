"""The launchpad on a real node, one set of contracts a test module."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.support import stage as stages
from tests.support.evm import Chain, compile_sources
from tests.support.servers import Anvil
from tests.support.stage import Stage
from tests.support.vault_play import Play


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Artifacts of tests/support/contracts."""
    out = tmp_path_factory.mktemp("compiled")
    return compile_sources(Path("tests/support/contracts"), out, quick=True)


@pytest.fixture(scope="module")
def chain(anvil: Anvil) -> Iterator[Chain]:
    opened = Chain(anvil.rpc_url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def stage(anvil: Anvil, chain: Chain, request: pytest.FixtureRequest) -> Stage:
    """Contracts of the module's own: the salt is the module's name."""
    return stages.build(anvil, chain, salt=keccak(request.node.name.encode()))


@pytest.fixture(scope="module")
def driver(harness: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return harness["VaultDriver"]


@pytest.fixture(scope="module")
def one(chain: Chain, driver: dict[str, Any]) -> Play:
    return Play(chain, driver)


@pytest.fixture
def play(one: Play) -> Any:
    """The module's vault, taken back afterwards."""
    nonce = one.nonce
    with one.bench.chain.undone():
        yield one
    one.nonce = nonce
