"""What a node can do wrong, switchable at run time, seeded, and counted.

A log chosen to be dropped stays dropped at every place of `places` and at every read of
it: a lie that is repeated is the one that hurts.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from random import Random
from typing import Any

Json = dict[str, Any]


class Places(Flag):
    """Where logs (or shreds) pass."""

    PUSHED = auto()
    RANGES = auto()
    AT_HASH = auto()
    RECEIPTS = auto()
    SHREDS = auto()


ALWAYS = Places.PUSHED | Places.RANGES | Places.AT_HASH
"""All but receipts: a node whose log index lies."""


def _every(_: Json) -> bool:
    return True


@dataclass
class Faults:
    """Shares are probabilities from 0 to 1; everything is off at first.

    `counts` tells what was done: dropped, repeated, reordered, delayed, errors, frozen,
    half_open, cuts, lagged, false_heads, absent, changed, swapped.
    `untrue` holds the hashes of preconfirmed transactions that will not come true.
    """

    random: Random = field(default_factory=lambda: Random(1))
    places: Places = ALWAYS
    only: Callable[[Json], bool] = _every
    """Which logs may be dropped."""

    drop: float = 0.0
    """Of each log, or of each shred."""
    drop_tail: float = 0.0
    """Of the last log of a block alone."""
    repeat: float = 0.0
    reorder: float = 0.0
    """Of an answer, or of what one block pushes."""
    delay_s: float = 0.0
    """Longest; drawn for each answer or push of `places`."""

    lag_blocks: int = 0
    """Reads answer as a node so far behind; pushes come in time."""
    frozen: bool = False
    """HTTP requests are taken and not answered while this is set."""
    half_open: bool = False
    """WebSockets of now stay open and never say anything again; new ones hang."""
    errors: float = 0.0
    error_methods: frozenset[str] = frozenset()
    """Empty: all methods."""
    false_heads: float = 0.0
    """At each seal: the head of a block that a reorg has orphaned, once more."""

    contradict: str = ""
    """absent | swapped | changed: how a preconfirmed transaction is not what is sealed."""
    contradictions: float = 1.0
    """Of each block."""

    counts: Counter[str] = field(default_factory=Counter)
    untrue: list[str] = field(default_factory=list)
    _dropped: dict[tuple[Any, ...], bool] = field(default_factory=dict)

    def calm(self) -> None:
        """Everything off, counters kept."""
        self.drop = self.drop_tail = self.repeat = self.reorder = self.delay_s = 0.0
        self.errors = self.false_heads = 0.0
        self.lag_blocks, self.frozen, self.half_open, self.contradict = 0, False, False, ""
        self._dropped.clear()

    def chance(self, share: float, count: str) -> bool:
        """Whether it happens this time; counted if so."""
        happens = share > 0 and self.random.random() < share
        self.counts[count] += happens
        return happens

    def logs(self, logs: Sequence[Json], place: Places) -> list[Json]:
        """These logs as the node tells of them at `place`."""
        if not self.places & place:
            return list(logs)
        last: dict[Any, int] = {}
        for log in logs:
            last[log["blockNumber"]] = int(log["logIndex"], 16)
        kept = [one for one in logs if not self._drops(one, last[one["blockNumber"]])]
        return self._shaken(kept)

    def shreds(self, shreds: Sequence[Json]) -> list[Json]:
        """These shreds as the node pushes them."""
        if Places.SHREDS not in self.places:
            return list(shreds)
        return self._shaken([one for one in shreds if not self.chance(self.drop, "dropped")])

    def delay(self, place: Places) -> float:
        """Seconds to wait before an answer or push at `place`."""
        if not self.delay_s or not self.places & place:
            return 0.0
        self.counts["delayed"] += 1
        return self.random.random() * self.delay_s

    def refuses(self, method: str) -> bool:
        """Whether this call gets an error."""
        meant = not self.error_methods or method in self.error_methods
        return meant and self.chance(self.errors, "errors")

    def _drops(self, log: Json, last: int) -> bool:
        if not self.only(log) or not self.drop + self.drop_tail:
            return False
        lie = (self.drop, self.drop_tail)
        key = (lie, log["blockHash"], log["transactionHash"], log["logIndex"])
        if key not in self._dropped:
            tail = int(log["logIndex"], 16) == last and self.chance(self.drop_tail, "dropped")
            self._dropped[key] = tail or self.chance(self.drop, "dropped")
        return self._dropped[key]

    def _shaken(self, items: list[Json]) -> list[Json]:
        told = [
            one for item in items for one in [item] * (1 + self.chance(self.repeat, "repeated"))
        ]
        if len(told) > 1 and self.chance(self.reorder, "reordered"):
            self.random.shuffle(told)
        return told
