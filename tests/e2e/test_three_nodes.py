"""A system on three Ray nodes: the short form of what `make chaos` does at length. In a process of
its own, since Ray reads its environment when it is imported.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 840
PARTS = {
    "nodes killed",
    "head killed and restarted, its tables in a Redis",
    "three gateways",
    "a node with another one",
    "up again, on a cluster",
    "down, on a cluster",
}


@pytest.mark.timeout(LIMIT_S + 30)
def test_cluster_that_loses_a_node_and_its_head_goes_on_with_every_market(tmp_path):
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.chaos", "--short", "--only", "cluster", "--seed", "1"]
    done = subprocess.run(
        [*command, "--out", str(file)], cwd=ROOT, capture_output=True, timeout=LIMIT_S, check=False
    )
    said = (done.stdout + done.stderr).decode()[-4_000:]
    assert done.returncode == 0, said
    rows = {row["part"]: row for row in json.loads(file.read_text())["rows"]}
    assert rows.keys() == PARTS, said
    for part, row in rows.items():
        assert row["trials"] and not row["failures"] and row["caught"] == row["planted"], row
        print(f"{part}: {row['trials']} trials, {row['figure']}")
