"""A command whose server has died ends, so that it can be started anew."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import datadir
from tests.support import running


@pytest.fixture
def folder() -> Iterator[Path]:
    with datadir.temporary() as made:
        yield made


def test_devnet_whose_chain_is_killed_ends_with_one_sentence(folder: Path) -> None:
    log = folder / "devnet.log"
    with log.open("wb") as output:
        command = subprocess.Popen(
            [running.CLI, "devnet"],
            env=running.environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while log.read_text().count("registry") < 2:
            assert command.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        family = running.descendants(command.pid)
        chain = next(one for one in family if one.name() == "anvil")
        chain.kill()
        assert command.wait(timeout=20) == 1
        running.gone(family)
        assert "Expected anvil" in log.read_text() and "Traceback" not in log.read_text()
    finally:
        command.kill()
        command.wait()
