"""A circuit breaker as a value: when a node is asked no more, and when again.

closed → open, once `failures_max` of the last `window_s` seconds failed; open → half open after
the cool-down, which lets one probe through; the probe's end closes it, or opens it for twice
as long, up to `cool_down_s_max`. Times are seconds of any clock that does not go back.
"""

from dataclasses import dataclass, replace

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When it opens and for how long."""

    failures_max: int = 5
    window_s: float = 30.0
    cool_down_s: float = 1.0
    cool_down_s_max: float = 30.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """`failures` are the times of the window's, oldest first; none once it is open."""

    rules: Rules
    failures: tuple[float, ...] = ()
    open_until: float | None = None
    cool_down_s: float = 0.0
    probing: bool = False

    def state(self, now: float) -> str:
        """closed | open | half_open."""
        if self.open_until is None:
            return CLOSED
        return OPEN if now < self.open_until else HALF_OPEN

    def asked(self, now: float) -> "tuple[bool, Breaker]":
        """Whether a call may go out now, and the breaker after it did."""
        state = self.state(now)
        if state == CLOSED:
            return True, self
        if state == OPEN or self.probing:
            return False, self
        return True, replace(self, probing=True)

    def succeeded(self) -> "Breaker":
        """A call ended well. One that was made before it opened closes nothing."""
        if self.open_until is None:
            return replace(self, failures=()) if self.failures else self
        return Breaker(self.rules) if self.probing else self

    def failed(self, now: float) -> "Breaker":
        """A call had no answer."""
        if self.open_until is not None:
            # A probe, or one from before it opened, which says nothing new.
            return self._opened(now, self.cool_down_s * 2) if self.probing else self
        kept = tuple(one for one in self.failures if one > now - self.rules.window_s)
        failures = (*kept, now)[-self.rules.failures_max :]
        if len(failures) < self.rules.failures_max:
            return replace(self, failures=failures)
        return self._opened(now, self.rules.cool_down_s)

    def _opened(self, now: float, cool_down_s: float) -> "Breaker":
        pause_s = min(cool_down_s, self.rules.cool_down_s_max)
        return Breaker(self.rules, open_until=now + pause_s, cool_down_s=pause_s)
