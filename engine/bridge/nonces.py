"""Which nonce of an account is believed, of what several endpoints say. Pure.

A wrong one costs: too high a nonce skips those below it, and calls one used that is not; too low
a one fills a hole that is none. So, in order:
  1. what is below a nonce of ours that a final block used is set aside: old, or a lie;
  2. of what is left the highest that as many as the quorum have reached; it is sure where the
     quorum is more than one;
  3. fewer answers than that: the lowest, and it is sure once it was said for a while.
"""

from collections.abc import Sequence
from dataclasses import dataclass

QUORUM = 2
NONCE_MAX = 2**63 - 1
"""A store's whole number; no account comes near it."""


@dataclass(frozen=True, slots=True)
class Believed:
    """`sure`: more than one endpoint says so. `alike`: none that can be right says otherwise."""

    nonce: int
    sure: bool
    alike: bool


def believed(said: Sequence[int], *, used: int, endpoints: int) -> Believed | None:
    """The account's next nonce; None: nobody says one that can be. `used` is the least that can
    be, `endpoints` how many were asked."""
    quorum = min(QUORUM, endpoints)
    possible = sorted((one for one in said if used <= one <= NONCE_MAX), reverse=True)
    if not possible:
        return None
    alike = possible[0] == possible[-1]
    if len(possible) < quorum:
        return Believed(possible[-1], sure=False, alike=alike)
    return Believed(possible[quorum - 1], sure=quorum > 1, alike=alike)


@dataclass(frozen=True, slots=True)
class Steady:
    """How far something that only grows was said to have come, for a while: `reached` for good,
    `least` of what was said since `since`, seconds of the caller's clock."""

    reached: int = 0
    least: int = 0
    since: float | None = None

    def noted(self, believed_: Believed, now: float, patience_s: float) -> "Steady":
        """After one more look."""
        if believed_.sure:
            return Steady(max(self.reached, believed_.nonce))
        if believed_.nonce <= self.reached:
            return Steady(self.reached)
        if self.since is None:
            return Steady(self.reached, believed_.nonce, now)
        least = min(self.least, believed_.nonce)
        if now - self.since >= patience_s:
            return Steady(least)
        return Steady(self.reached, least, self.since)
