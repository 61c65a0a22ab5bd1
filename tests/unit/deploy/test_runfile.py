"""What a command says that needs a running system and finds none, or one that is not ready."""

import os
from pathlib import Path

import pytest

from deploy import datadir, runfile
from deploy.process import StartError
from tests.support.run_files import run_of


def test_read_says_whether_nothing_runs_or_something_is_starting_or_ending(tmp_path: Path) -> None:
    run = run_of(os.getpid())
    with pytest.raises(StartError, match="Nothing runs in"):
        runfile.read(tmp_path)
    with datadir.held(tmp_path):
        with pytest.raises(StartError, match="is starting or ending"):
            runfile.read(tmp_path)
        runfile.write(tmp_path, run)
        assert runfile.read(tmp_path) == run
        runfile.remove(tmp_path)
        with pytest.raises(StartError, match="is starting or ending"):
            runfile.read(tmp_path)
    runfile.write(tmp_path, run)  # of one that was killed
    with pytest.raises(StartError, match="Nothing runs in"):
        runfile.read(tmp_path)
