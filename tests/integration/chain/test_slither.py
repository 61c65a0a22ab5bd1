"""Static analysis of the contracts: every finding is fixed, or explained in SLITHER.md."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.evm import ROOT

RUNNER = ROOT / "tests/support/slither/findings.py"
TABLE = ROOT / "chain/contracts/SLITHER.md"
PLANTED = """// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

contract Planted {
    mapping(address account => uint256) public owed;

    function take() external {
        (bool ok,) = msg.sender.call{value: owed[msg.sender]}("");
        require(ok);
        owed[msg.sender] = 0;
    }
}
"""


def _findings(*folder: str) -> set[tuple[str, str]]:
    done = subprocess.run(
        [sys.executable, str(RUNNER), *folder],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return {(check, place) for check, place in json.loads(done.stdout)}


def _explained() -> set[tuple[str, str]]:
    rows = [line.split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    cells = [(row[0].removeprefix("| "), row[1], row[2].removesuffix(" |")) for row in rows[1:]]
    assert all(reason for _, _, reason in cells) and len(cells) == len(set(cells))
    return {(check, place) for check, place, _ in cells}


def test_slither_finds_what_is_explained_and_nothing_else() -> None:
    found, explained = _findings(), _explained()
    assert found - explained == set(), "not explained"
    assert explained - found == set(), "not found any more"


def test_slither_finds_a_planted_reentrancy(tmp_path: Path) -> None:
    (tmp_path / "Planted.sol").write_text(PLANTED)
    assert ("reentrancy-eth", "Planted.sol:take") in _findings(str(tmp_path))
