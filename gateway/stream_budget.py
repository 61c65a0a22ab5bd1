"""What one connection of the stream door may spend, counted in its own process.

`Bucket`: so many a second, and a burst of two seconds. `Strikes`: faults that are forgiven
one by one, until there are too many at once.
"""

from collections.abc import Callable

BURST_S = 2.0

Clock = Callable[[], float]


class Bucket:
    """`per_s` a second on average, at most `burst` at once."""

    def __init__(self, per_s: float, clock: Clock, *, burst: float = 0.0) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = self._left = max(burst, per_s * BURST_S)
        self._at = clock()

    def change(self, per_s: float, *, burst: float = 0.0) -> None:
        """Another rate from now on. What was spent stays so, and may be more than the new burst:
        who logs in again and again has no new budget.
        """
        self.take(0)
        spent = self._burst - self._left
        self._per_s = per_s
        self._burst = max(burst, per_s * BURST_S)
        self._left = self._burst - spent

    def take(self, count: float) -> float:
        """0.0 and the count is spent; or nothing is, and how many seconds until it fits."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if count <= self._left:
            self._left -= count
            return 0.0
        return (count - self._left) / self._per_s


class Strikes:
    """`most` in any `window_s`, roughly: they wear off evenly."""

    def __init__(self, most: int, window_s: float, clock: Clock) -> None:
        self._bucket = Bucket(most / window_s, clock, burst=most)

    def strike(self, count: int = 1) -> bool:
        """Whether it was one too many."""
        return self._bucket.take(count) > 0.0
