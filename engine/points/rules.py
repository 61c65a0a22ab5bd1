"""What points are given for, as data: `rules.json`, one entry a version, in force from a time.

A version is never changed once it was in force: the ledger names the version of each row, and
anybody who recomputes a row needs it as it was.
"""

import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

MICRO = 10**6
"""Points are counted in millionths."""

DAY_S = 86_400
WEI = 10**18
BPS = 10_000


@dataclass(frozen=True, slots=True)
class Season:
    """Chain time in [`start`, `end`); at its end `pool` points are shared by score."""

    id: str
    start: int
    end: int
    pool: int


@dataclass(frozen=True, slots=True)
class Rules:
    """One version. Shares are of level 1 and 2, in basis points; times in seconds or days."""

    version: int
    start: int
    netting_s: int
    points_per_eth: int
    creation_points: int
    creations_a_day: int
    graduation_points: int
    bridge_points_per_eth: int
    streak_points: int
    streak_days_max: int
    streak_volume_wei: int
    points_share_bps: tuple[int, ...]
    fee_share_bps: tuple[int, ...]
    fee_activation_wei: int
    fee_cap_wei: int
    fee_days: int
    bind_days: int


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All seasons and all versions, each in the order of time."""

    seasons: tuple[Season, ...]
    versions: tuple[Rules, ...]

    def season_at(self, time: int) -> Season | None:
        """None between seasons: then nothing is scored."""
        return next((one for one in self.seasons if one.start <= time < one.end), None)

    def seasons_of_day(self, day: int) -> tuple[Season, ...]:
        """Those that may have rows on this UTC day (since 1970): a window that was open at a
        season's end closes within the netting time after it.
        """
        netting_s = max((one.netting_s for one in self.versions), default=0)
        start, end = day * DAY_S, (day + 1) * DAY_S
        return tuple(s for s in self.seasons if s.start < end and start <= s.end + netting_s)

    def at(self, time: int) -> Rules:
        """The version in force. Raises LookupError before the first."""
        found = [one for one in self.versions if one.start <= time]
        if not found:
            raise LookupError(f"Expected rules in force at {time}")
        return found[-1]


def read(document: dict[str, Any]) -> RuleBook:
    """From the JSON. Raises ValueError: seasons or versions that overlap or are not in order."""
    seasons = tuple(
        Season(one["id"], int(one["from"]), int(one["to"]), int(one["pool"]))
        for one in document["seasons"]
    )
    versions = tuple(_rules(one) for one in document["versions"])
    edges = [edge for one in seasons for edge in (one.start, one.end)]
    starts = [one.start for one in versions]
    numbers = [one.version for one in versions]
    if edges != sorted(edges) or starts != sorted(starts) or numbers != sorted(set(numbers)):
        raise ValueError("Expected seasons and versions in the order of time, none twice")
    return RuleBook(seasons, versions)


def shown(one: Rules) -> dict[str, Any]:
    """A version as everybody is shown it; wei as text."""
    values = {name: getattr(one, name) for name in _NAMES}
    return {
        _camel(name): str(value) if name.endswith("_wei") else value
        for name, value in values.items()
    }


@cache
def ours() -> RuleBook:
    """`rules.json`."""
    return read(json.loads((Path(__file__).parent / "rules.json").read_text(encoding="utf-8")))


def _rules(one: dict[str, Any]) -> Rules:
    values = {name: one["from" if name == "start" else name] for name in _NAMES}
    return Rules(**{name: _number(value) for name, value in values.items()})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _number(value: Any) -> Any:
    return tuple(int(item) for item in value) if isinstance(value, list) else int(value)


_NAMES = [field.name for field in fields(Rules)]
