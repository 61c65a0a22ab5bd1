"""What goes wrong at each turn is said when it begins and when it changes, not at each turn."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from actors.ports import Log

QUIET_S = 10.0
"""The least between two sayings of one trouble whose words change."""

REMEMBERED_MAX = 1_000
"""Troubles remembered, the one that was met longest ago forgotten first: said again then."""


class Saying:
    """`wrong` at each turn that goes wrong, `over` once it goes well. A trouble is the event and
    what it is `about`; the fields may change."""

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._said: OrderedDict[tuple[str, Hashable], tuple[dict[str, Any], float]] = OrderedDict()

    def wrong(
        self, event: str, about: Hashable = None, *, as_error: bool = False, **fields: Any
    ) -> bool:
        """Whether it was said."""
        key, now = (event, about), self._clock()
        before = self._said.get(key)
        if before is not None:
            self._said.move_to_end(key)
            if before[0] == fields or now - before[1] < QUIET_S:
                return False
        self._said[key] = fields, now
        self._said.move_to_end(key)
        while len(self._said) > REMEMBERED_MAX:
            self._said.popitem(last=False)
        (self._log.error if as_error else self._log.warning)(event, **fields)
        return True

    def over(self, event: str, about: Hashable = None) -> bool:
        """Whether there was such a trouble; the next one is said at once."""
        return self._said.pop((event, about), None) is not None
