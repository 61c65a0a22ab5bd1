"""What a bench found: ratios with their intervals, absolute figures, every run, the machine.

`latest.json` holds `ratios` (name: ours over the peer's, of medians), `intervals`, `gates`,
`figures` (units in the names), `runs` and `machine`.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from bench.gates import GATES
from bench.stats import ALTERNATIONS_MIN, Ratio

FOLDER = Path(__file__).parent / "results"
LATEST = FOLDER / "latest.json"
PAGE = FOLDER / "latest.html"
_PACKAGES = ("picows", "python-socketio", "aiohttp", "uvloop", "orjson", "ray")


@dataclass(slots=True)
class Results:
    """Filled by the parts, in turn."""

    ratios: dict[str, Ratio] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def gates(self) -> dict[str, dict[str, Any]]:
        """Of every gated ratio: its line, whether it is reached, whether it fails for sure."""
        found = {}
        for name, ratio in self.ratios.items():
            gate = GATES.get(name)
            if gate is not None and ratio.alternations >= ALTERNATIONS_MIN:
                reached, holds = gate.reached(ratio), gate.holds(ratio)
                found[name] = {"line": gate.line, "reached": reached, "holds": holds}
        return found

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "ratios": {name: round(one.value, 4) for name, one in self.ratios.items()},
            "intervals": {name: one.as_dict() for name, one in self.ratios.items()},
            "gates": self.gates(),
            "figures": {name: round(value, 3) for name, value in self.figures.items()},
            "parts": self.parts,
            "notes": self.notes,
            "machine": machine() | {"loadBefore": self.load_before},
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "seconds": round(time.time() - self.began, 1),
            "runs": self.runs,
        }

    def write(self) -> None:
        """To `bench/results/latest.json`."""
        FOLDER.mkdir(exist_ok=True)
        LATEST.write_text(json.dumps(self.as_dict(), indent=1) + "\n")


def read() -> dict[str, Any]:
    """The latest, as written. Raises FileNotFoundError."""
    found: dict[str, Any] = json.loads(LATEST.read_text())
    return found


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memoryGb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "loadAfter": os.getloadavg()[0],
        "python": platform.python_version(),
        "node": node.stdout.strip(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "nodeVersions": dict(_node_versions()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _node_versions() -> Mapping[str, str]:
    lock = json.loads((FOLDER.parents[1] / "package-lock.json").read_text())
    wanted = ("express", "socket.io", "ws", "ioredis")
    return {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted}
