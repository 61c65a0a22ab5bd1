"""A clock for the silence of others: it stands still while this process does."""


class AwakeClock:
    """Seconds that this process was awake, told by `tick`, which it is to call every `step_s`.

    Between two ticks at most two steps count: whoever was stopped meanwhile, or starved, did not
    listen, and nobody was silent.
    """

    def __init__(self, step_s: float) -> None:
        self._step_max_s = 2 * step_s
        self._ticked_at_s: float | None = None
        self.now_s = 0.0

    def tick(self, at_s: float) -> None:
        """The time now, by a monotonic clock."""
        if self._ticked_at_s is not None:
            self.now_s += min(max(at_s - self._ticked_at_s, 0.0), self._step_max_s)
        self._ticked_at_s = at_s
