"""Bugs of bridges that were, put into the vault's sources one at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.evm import ROOT, compile_sources

FOLDER = ROOT / "chain/contracts"
FILES = (
    *("libraries/Window.sol", "libraries/Attestation.sol", "bridge/VaultBase.sol"),
    *("bridge/Timelocked.sol", "bridge/VaultRoles.sol", "bridge/BridgeVault.sol"),
)
HEAD = "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.28;\n\n"
LIBRARY = (FOLDER / FILES[0]).read_text()
LEFT = "returns (uint256)\n    {"
LEFT_AND_TAKE = (
    LIBRARY[LIBRARY.index(LEFT) : LIBRARY.index("uint256 hour", LIBRARY.index("function take"))]
    + "uint256 hour = timestamp / 1 hours;"
)
# The library with a bucket that is refilled steadily instead of hours.
TOKEN_BUCKET = """
        uint256 total = self.total;
        uint256 refilled = limit * (timestamp - self.hour) / 24 hours;
        total = total > refilled ? total - refilled : 0;
        return limit > total ? limit - total : 0;
    }

    function take(Spent storage self, uint256 amount, uint256 limit, uint256 timestamp)
        internal
        returns (bool taken, uint256 leftBefore)
    {
        leftBefore = left(self, limit, timestamp);
        taken = amount <= leftBefore;
        self.total = uint128(limit - leftBefore + (taken ? amount : 0));
        self.hour = uint64(timestamp);
    }

    function unused(Spent storage self, uint256 amount, uint256 limit, uint256 timestamp)
        internal
        returns (bool taken, uint256 leftBefore)
    {
        uint256 hour = timestamp / 1 hours;"""


@dataclass(frozen=True)
class Bug:
    """`old` stands once in the sources and becomes `new`."""

    old: str
    new: str


BUGS = {
    "NoReplayGuard": Bug(
        "} else if (fate != Fate.Queued) {", "} else if (fate == Fate.Cancelled) {"
    ),
    "CountWithoutDistinctness": Bug(
        "if (signer <= last) revert IBridgeVault.SignersNotSorted(signer);",
        "if (signer < last) revert IBridgeVault.SignersNotSorted(signer);",
    ),
    "ZeroThreshold": Bug("if (threshold == 0 || threshold >", "if (threshold >"),
    "CancelAfterQueue": Bug(
        "if (fate != Fate.None) revert WrongFate(id, fate);\n        uint256 allowedAt",
        "if (fate > Fate.Queued) revert WrongFate(id, fate);\n        uint256 allowedAt",
    ),
    "RefundOutsideTheWindow": Bug(
        "_spend(amount);\n        _deposits[id].refunded", "_deposits[id].refunded"
    ),
    "TokenBucket": Bug(LEFT_AND_TAKE, LEFT + TOKEN_BUCKET),
    "DeadlineNotChecked": Bug(
        "if (block.timestamp > message.deadline) {", "if (message.deadline == 0) {"
    ),
    "SignerSetNotInTheDigest": Bug(
        "abi.encode(RELEASE, id, message, set)", "abi.encode(RELEASE, id, message, set & 0)"
    ),
    "RefundTwice": Bug("if (found.refunded) revert AlreadyRefunded(id);", ""),
    "OldSignersAccepted": Bug(
        "if (self.epochOf[signer] != epoch)", "if (epoch > 0 && self.epochOf[signer] == 0)"
    ),
    "NoMinimum": Bug("if (msg.value < least) revert", "if (least == 0) revert"),
    # And one of none: what is caught in it is a fault of the harness.
    "Sound": Bug("", ""),
}


def source(name: str) -> str:
    """The vault with one bug, in one file, as a contract of the bug's name."""
    imports: dict[str, None] = {}
    bodies = []
    for file in FILES:
        lines = (FOLDER / file).read_text().removeprefix(HEAD).splitlines()
        for line in lines:
            if line.startswith("import") and ("@open" in line or "IBridgeVault.sol" in line):
                path = line.replace("../IBridgeVault", "chain/contracts/IBridgeVault")
                imports[path] = None
        bodies.append("\n".join(line for line in lines if not line.startswith("import")))
    text = HEAD + "\n".join(imports) + "\n" + "\n".join(bodies)
    bug = BUGS[name]
    if bug.old:
        assert text.count(bug.old) == 1, f"{name}: {text.count(bug.old)} places"
        text = text.replace(bug.old, bug.new)
    return text.replace("contract BridgeVault", f"contract {name}")


def artifacts(names: Iterable[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Compiled, by the bug's name."""
    sources, out = folder / "planted", folder / "artifacts"
    sources.mkdir()
    # One at a time: a slow machine has its five minutes for each.
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        chosen = sources / name
        chosen.mkdir()
        (chosen / f"{name}.sol").write_text(source(name))
        found |= compile_sources(chosen, out, quick=True)
    return {name: found[name] for name in names}
