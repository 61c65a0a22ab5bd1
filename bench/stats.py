"""Ratios of two contestants that were measured in turn, and when a ratio is a loss. Pure.

The figure is the ratio of the medians; how sure it is says a bootstrap over the alternations
(95 %, percentile method). A gate fails only when the whole interval is beyond its line: a noisy
machine cannot fail it, and cannot pass off a real loss as noise for long.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 4_000
ALTERNATIONS_MIN = 12
"""Of a ratio that is gated; fewer say little about the interval."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours over theirs, and the interval that holds it in 95 of 100 cases."""

    value: float
    low: float
    high: float
    alternations: int

    def as_dict(self) -> dict[str, float]:
        """For JSON, rounded to what is meant."""
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "alternations": self.alternations,
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """A line that a ratio must keep: at least `least` or at most `most`."""

    name: str
    least: float | None = None
    most: float | None = None

    def holds(self, ratio: Ratio) -> bool:
        """False only if the whole interval is beyond the line. Raises ValueError for a ratio of
        too few alternations."""
        if ratio.alternations < ALTERNATIONS_MIN:
            wanted = f"Expected {ALTERNATIONS_MIN} alternations of {self.name}"
            raise ValueError(f"{wanted}, was {ratio.alternations}")
        if self.least is not None and ratio.high < self.least:
            return False
        return self.most is None or ratio.low <= self.most

    def reached(self, ratio: Ratio) -> bool:
        """Whether the figure itself keeps the line."""
        if self.least is not None and ratio.value < self.least:
            return False
        return self.most is None or ratio.value <= self.most

    @property
    def line(self) -> str:
        """In words."""
        parts = [f"at least {self.least:g}"] if self.least is not None else []
        parts += [f"at most {self.most:g}"] if self.most is not None else []
        return " and ".join(parts)


def ratio(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 1) -> Ratio:
    """Of as many measurements each, the n-th of both from the same alternation. Raises
    ValueError for none, for unequal counts, and for one that is not above zero.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"Expected as many of each, was {len(ours)} and {len(theirs)}")
    if min(*ours, *theirs) <= 0:
        raise ValueError("Expected measurements above zero")
    dice = random.Random(seed)
    pairs = list(zip(ours, theirs, strict=True))
    found = sorted(_of(dice.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    edge = int(RESAMPLES * 0.025)
    return Ratio(_of(pairs), found[edge], found[-edge - 1], len(pairs))


def _of(pairs: Sequence[tuple[float, float]]) -> float:
    return median(a for a, _ in pairs) / median(b for _, b in pairs)


def losses(
    baseline: dict[str, float], found: dict[str, Ratio], *, lower_is_better: Sequence[str] = ()
) -> list[str]:
    """Sentences about ratios that are worse than the baseline, the whole interval of them.
    Ratios on one side only are no loss.
    """
    sentences = []
    for name, expected in sorted(baseline.items()):
        now = found.get(name)
        if now is None:
            continue
        worse = now.low > expected if name in lower_is_better else now.high < expected
        if worse:
            interval = f"{now.low:.3f} to {now.high:.3f}"
            sentences.append(f"{name}: Expected {expected:.3f}, was {now.value:.3f} ({interval})")
    return sentences
