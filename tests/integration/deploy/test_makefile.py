"""`make tools`: one clear sentence for what is missing on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GOOD_PYTHON = f'exec {sys.executable} "$@"'
OLD_PYTHON = 'if [ "$1" = --version ]; then echo "Python 3.9.2"; else exit 1; fi'
NO_VENV_PYTHON = (
    'if [ "$1" = --version ]; then echo "Python 3.11.2"; else case "$2" in *ensurepip*) exit 1;;'
    " esac; fi"
)
GOOD_NODE = "exit 0"
OLD_NODE = 'if [ "$1" = --version ]; then echo v18.19.0; else exit 1; fi'


@pytest.mark.parametrize(
    ("python", "node", "npm", "sentence"),
    [
        (GOOD_PYTHON, GOOD_NODE, True, ""),
        (None, GOOD_NODE, True, "Python 3.11 or newer is needed, found: none."),
        (OLD_PYTHON, GOOD_NODE, True, "Python 3.11 or newer is needed, found: Python 3.9.2."),
        (NO_VENV_PYTHON, GOOD_NODE, True, "Python's venv is missing (Python 3.11.2)"),
        (GOOD_PYTHON, None, True, "Node.js 20 or newer is needed, found none."),
        (GOOD_PYTHON, OLD_NODE, True, "Node.js 20 or newer is needed, found v18.19.0."),
        (GOOD_PYTHON, GOOD_NODE, False, "npm is needed, found none"),
    ],
)
def test_make_tools_missing_tool_is_one_sentence(
    tmp_path: Path, python: str | None, node: str | None, npm: bool, sentence: str
) -> None:
    for tool in ("sh", "bash", "cat", "cut", "sha256sum", "make"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    for name, script in (("python3", python), ("node", node), ("npm", "exit 0" if npm else None)):
        if script is not None:
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(ROOT), "tools"],
        env={"PATH": str(tmp_path), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) == (not sentence), done.stderr
    assert sentence in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == bool(sentence)
