"""Whole systems: each test module has its own, started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import datadir
from tests.support import running


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder that goes afterwards, and that `nobody` can enter."""
    with datadir.temporary() as folder:
        yield folder


@pytest.fixture(scope="module")
def system() -> Iterator[running.Running]:
    """A system that is up."""
    with datadir.temporary() as folder, running.up(folder) as one:
        yield one
