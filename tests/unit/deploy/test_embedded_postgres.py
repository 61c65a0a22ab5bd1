"""What makes Postgres's folders leaves nothing half made, and no process."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from deploy import datadir, embedded_postgres, identity, process

MAKES = """
import sys
from pathlib import Path
from deploy import embedded_postgres
folder = Path(sys.argv[1])
made = ["sh", "-c", "echo $$ > pid.new; mv pid.new pid; exec sleep 60"]
embedded_postgres._run(made, user=None, cwd=folder)
"""


def test_run_whose_owner_is_killed_ends_too(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKES, str(tmp_path)]
    owner = subprocess.Popen(command, cwd=datadir.clone_root())
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    made = identity.of(int((tmp_path / "pid").read_text()))
    assert made.alive
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 5
    while made.alive:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_copy_that_is_broken_off_is_made_anew(tmp_path: Path) -> None:
    package, target = tmp_path / "package", tmp_path / "binaries"
    binary = package / "pginstall" / "bin" / "postgres"
    libraries = tmp_path / "package.libs"
    for folder in (binary.parent, libraries):
        folder.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    (libraries / "libpq").touch()
    copy = lambda: embedded_postgres._copy(package, target, process.NOBODY)  # noqa: E731
    tree, broken_off = shutil.copytree, [libraries]

    def killed(source: Path, *words: Any, **options: Any) -> None:
        if source in broken_off:
            broken_off.clear()
            raise KeyboardInterrupt
        tree(source, *words, **options)

    with (
        mock.patch.object(embedded_postgres, "_runs", lambda one, user: os.access(one, os.X_OK)),
        mock.patch.object(shutil, "copytree", killed),
    ):
        with pytest.raises(KeyboardInterrupt):
            copy()
        assert copy() == target / "package" / "pginstall" / "bin"
    assert (target / "package.libs" / "libpq").exists()
