"""For how long others were silent, by a clock that stands still while this process does."""

from collections.abc import Collection


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


class Silences:
    """Since when who was not heard, by that clock."""

    def __init__(self, clock: AwakeClock) -> None:
        self._clock = clock
        self._heard_s: dict[str, float] = {}

    def heard(self, name: str) -> None:
        """It spoke."""
        self._heard_s[name] = self._clock.now_s

    def silent_s(self, name: str) -> float:
        """Since it spoke, or since this was asked first."""
        return self._clock.now_s - self._heard_s.setdefault(name, self._clock.now_s)

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        self._heard_s = {name: at for name, at in self._heard_s.items() if name in names}
