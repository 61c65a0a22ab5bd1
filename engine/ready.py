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

Asked = tuple[bytes, bool]
Place = tuple[int, int, int, FeedPosition, int]
Kept = tuple[Place, Quotable]


class Ready:
    """Of at most `most`: when half as many are new, those that nobody asked for since the last time
    are forgotten.
    """

    def __init__(self, most: int = QUOTABLES_MAX) -> None:
        self._half = most // 2
        self._newer: dict[Asked, Kept] = {}
        self._older: dict[Asked, Kept] = {}

    def __len__(self) -> int:
        return len(self._newer.keys() | self._older.keys())

    def of(
        self, group: Group, timeline: Timeline, *, token: bytes, bucket: int, sealed: bool
    ) -> Quotable | None:
        """The market as it stands, or its sealed state; None: there is no value of it."""
        incarnation, overlay = group.incarnations[bucket], len(timeline.overlay)
        place = (incarnation, timeline.changes, overlay, group.position, group.finalised)
        asked = (token, sealed)
        known = self._newer.get(asked)
        if known is not None and known[0] == place:
            return known[1]
        known = self._older.get(asked)
        if known is not None and known[0] == place:
            return self._keep(asked, known)
        market = timeline.sealed if sealed else timeline.current
        if market is None:
            return None
        as_of = group.as_of(timeline, bucket, sealed=sealed)
        return self._keep(asked, (place, quotable(market, as_of=as_of, bucket=bucket)))

    def _keep(self, asked: Asked, kept: Kept) -> Quotable:
        if len(self._newer) >= self._half and asked not in self._newer:
            self._newer, self._older = {}, self._newer
        self._newer[asked] = kept
        return kept[1]
