"""When each token's quotes were answered, and by whom: how long they paused."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Seen:
    """Of one token: when answers came, and the incarnations they named."""

    at: list[float] = field(default_factory=list)
    incarnations: set[int] = field(default_factory=set)


class Answers:
    """`begin` forgets; `seen` is since then."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self.seen: dict[str, Seen] = {}

    def begin(self) -> None:
        """Measure from here on."""
        now = time.monotonic()
        self.seen = {token: Seen([now]) for token in self._tokens}

    def heard(self, token: str, incarnation: int, at: float) -> None:
        """An answer, and the incarnation that it named."""
        self.seen[token].at.append(at)
        self.seen[token].incarnations.add(incarnation)

    def longest_s(self, token: str) -> float:
        """Between two answers that follow each other, or since the last one."""
        times = [*sorted(self.seen[token].at), time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(times))

    def of_moved(self) -> dict[str, float]:
        """Token → seconds of its longest pause, of those whose owner changed."""
        return self._longest(moved=True)

    def of_others(self) -> dict[str, float]:
        """The same of those whose owner did not: what the machine did to all of them."""
        return self._longest(moved=False)

    def _longest(self, *, moved: bool) -> dict[str, float]:
        chosen = [t for t, seen in self.seen.items() if (len(seen.incarnations) > 1) is moved]
        return {token: self.longest_s(token) for token in chosen}
