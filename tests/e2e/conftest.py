"""Whole systems. One start takes a while, so two of them serve what does not need its own.

The files are run in the order of their names. `first` has a bridge, and ends by kill -9 where
`again` begins in its folder, without a bridge; `test_stopping` ends that one. What needs the
whole machine comes after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from deploy import datadir
from tests.support import running


@dataclass
class Killed:
    """A system that was killed: its folder, and the processes that it had."""

    folder: Path
    family: list[psutil.Process]


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder that goes afterwards, and that `nobody` can enter."""
    with datadir.temporary() as folder:
        yield folder


@pytest.fixture(scope="session")
def first() -> Iterator[running.Running]:
    """A system with a bridge that is up."""
    with datadir.temporary() as folder, running.up(folder, BRIDGE="true") as one:
        yield one


@pytest.fixture(scope="session")
def killed(first: running.Running) -> Killed:
    """The same after kill -9."""
    family = running.descendants(first.process.pid)
    first.process.kill()
    first.process.wait()
    return Killed(first.folder, family)


@pytest.fixture(scope="session")
def again(killed: Killed) -> Iterator[running.Running]:
    """Another start in the folder of one that was killed."""
    with running.up(killed.folder) as one:
        yield one
