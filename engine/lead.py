"""How far another machine's clock is ahead of ours, as far as it shows."""


class Lead:
    """The most that a stamp was ahead of its coming, of the last one to two `window_s`.

    Nothing comes before it is made, so the other clock is ahead by that at least. It is forgotten
    since clocks are set: one that was set back would count as ahead for ever.
    """

    def __init__(self, window_s: float = 60.0) -> None:
        self._window_s = window_s
        self._began_s: float | None = None
        self._before_s = 0.0
        self._now_s = 0.0

    def noted(self, ahead_s: float, at_s: float) -> float:
        """The lead, or 0, after a stamp that was so far ahead; negative: behind. `at_s` is now."""
        if self._began_s is None or at_s - self._began_s > self._window_s:
            self._before_s, self._now_s, self._began_s = self._now_s, 0.0, at_s
        self._now_s = max(self._now_s, ahead_s)
        return max(self._before_s, self._now_s)
