"""What a command says that needs a running system and finds none, or one that is not ready."""

from dataclasses import fields
from pathlib import Path

import pytest

from deploy import datadir, runfile
from deploy.process import StartError


def test_read_says_whether_nothing_runs_or_something_is_starting_or_ending(tmp_path: Path) -> None:
    words = {field.name: "" for field in fields(runfile.RunFile)}
    run = runfile.RunFile(**words)  # type: ignore[arg-type]
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
