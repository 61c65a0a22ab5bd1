"""Whether an attestor signs anything at all, known before a transfer asks it to. Pure.

Why it does not, a code of `Declined`; in order:
  1. `halted` and `full` count at once: neither ends by itself;
  2. `disagreement`: a block that it attested is doubted, or an endpoint is of another chain;
  3. `trouble`: fewer endpoints of a chain answer than must agree.
2 and 3 are looked at again and again, and count once each look has found one or the other for
STOPPED_AFTER_S. What is over sooner delays a transfer by less than its own finality does, and would
only have the doors close and open; it is over with the first look that finds nothing.
"""

from dataclasses import dataclass

STOPPED_AFTER_S = 8.0
"""More than one pause between an attestor's looks, less than two: so it takes a third look."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """What was found from `since` to `until`, the last look, seconds of the caller's clock."""

    code: str = ""
    since: float = 0.0
    until: float = 0.0

    def noted(self, code: str, now: float) -> "Standstill":
        """After one more look; `code` is empty where nothing is in the way."""
        return Standstill(code, self.since if code and self.code else now, now)

    @property
    def lasting(self) -> str:
        """The code, once it counts."""
        return self.code if self.until - self.since >= STOPPED_AFTER_S else ""
