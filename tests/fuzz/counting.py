"""What a round of schemathesis did, from its report: cases, and answers of each operation."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.routes import API, Route

# An operation that cannot succeed in the fuzz, by design.
NEVER = {
    # Bytes of an image are not to be guessed.
    ("POST", "/uploads/image"),
}
LOGOUT = "/api/auth/logout"
"""Logging oneself out would make the rest of the round a round of strangers."""

LAST = ("/api/admin/bridge/pause", "/api/bridge/deposit", "/api/bridge/withdraw")
"""Asked once more at the end: pausing comes first, and only the vaults' owner could end that."""

EXCLUDED = (LOGOUT, LAST[0])


@dataclass
class Counts:
    """`statuses`: operation → status → answers."""

    cases: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)

    def add(self, report: Path) -> None:
        """What a report in NDJSON has."""
        for line in report.read_text(encoding="utf-8").splitlines():
            finished = json.loads(line).get("ScenarioFinished")
            for label, phase, status in _answers(finished or {}):
                self.cases += 1
                self.phases[phase] += 1
                self.statuses.setdefault(label, Counter())[status] += 1

    def shares(self) -> dict[str, float]:
        """Operation → share of answers that were 2xx; methods that a path has not are left out."""
        asked = {label: self.statuses.get(label, Counter()) for label in map(_label, API)}
        return {
            label: round(_good(found) / max(sum(found.values()), 1), 3)
            for label, found in asked.items()
        }

    def without_success(self) -> list[str]:
        """Operations that could have succeeded for somebody who asked, and never did."""
        return [
            label
            for label in map(_label, API)
            if label not in _EXEMPT and not _good(self.statuses.get(label, Counter()))
        ]


def _answers(finished: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    recorder = finished.get("recorder") or {}
    cases = recorder.get("cases") or {}
    for key, one in (recorder.get("interactions") or {}).items():
        case = (cases.get(key) or {}).get("value") or {}
        response = one.get("response") or {}
        label = f"{str(case.get('method', '')).upper()} {case.get('path', '')}"
        yield label, str(finished.get("phase", "")), int(response.get("status_code") or 0)


def _good(found: Counter[int]) -> int:
    return sum(count for status, count in found.items() if 200 <= status < 300)


def _label(route: Route) -> str:
    return f"{route.method} /api{route.path}"


_EXEMPT = {f"{method} /api{path}" for method, path in NEVER} | {f"POST {LOGOUT}"}
