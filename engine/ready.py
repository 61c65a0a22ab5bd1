"""Markets made ready for quotes, kept for as long as they stand where they stood.

What is kept depends on the market's value and on the state that its answers name. Both change only
with one of these: the market's version, what is preconfirmed of it, the block that its group
stands on, and what is final.
"""

from engine.group import Group
from engine.limits import QUOTABLES_MAX
from engine.messages import FeedPosition
from engine.quoting import Quotable, quotable
from engine.timeline import Timeline

Place = tuple[int, int, int, FeedPosition, int]


class Ready:
    """Of at most `most`; with more, all are forgotten: what is asked for often is soon back."""

    def __init__(self, most: int = QUOTABLES_MAX) -> None:
        self._most = most
        self._known: dict[tuple[bytes, bool], tuple[Place, Quotable]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(
        self, group: Group, timeline: Timeline, *, token: bytes, bucket: int, sealed: bool
    ) -> Quotable | None:
        """The market as it stands, or its sealed state; None: there is no value of it."""
        incarnation, overlay = group.incarnations[bucket], len(timeline.overlay)
        place = (incarnation, timeline.changes, overlay, group.position, group.finalised)
        asked = (token, sealed)
        known = self._known.get(asked)
        if known is not None and known[0] == place:
            return known[1]
        market = timeline.sealed if sealed else timeline.current
        if market is None:
            return None
        as_of = group.as_of(timeline, bucket, sealed=sealed)
        found = quotable(market, as_of=as_of, bucket=bucket)
        if known is None and len(self._known) >= self._most:
            self._known.clear()
        self._known[asked] = place, found
        return found
