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
