"""What one socket may send, and how fast sockets may come: token buckets of this process.

A message is paid for when it comes, whether it is answered or not. Below nothing left it is
refused with the time to wait; whoever goes on regardless falls deeper, and at a whole burst
below his socket is ended. Who waits as told is never refused twice in a row.
"""

from collections import OrderedDict
from collections.abc import Callable
from math import ceil

from engine.errors import CallerError
from engine.limits import RATE_KEYS_MAX, SOCKET_MESSAGE_BYTES_MAX
from engine.settings import GatewaySettings

BURST_S = 2
"""A bucket holds what comes in so many seconds."""


class TokenBucket:
    """`rate` a second, at most `burst` at once; what is taken may be more than there is."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = 0.0

    def take(self, count: float, now: float) -> float:
        """What is left after taking `count`; negative is owed, down to one burst."""
        self.look(now)
        self._level = max(self._level - count, -self._burst)
        return self._level

    def look(self, now: float) -> float:
        """What is left."""
        self._level = min(self._level + max(now - self._at, 0.0) * self._rate, self._burst)
        self._at = max(now, self._at)
        return self._level

    def wait_s(self, count: float, now: float) -> float:
        """Seconds until `count` may be taken."""
        return max(count - self.look(now), 0.0) / self._rate

    @property
    def is_spent(self) -> bool:
        """A whole burst is owed."""
        return self._level <= -self._burst


class Intake:
    """Messages and bytes of one socket, which came from `address`."""

    def __init__(
        self, settings: GatewaySettings, clock: Callable[[], float], address: str = ""
    ) -> None:
        self.address = address
        messages, size = settings.socket_messages_per_s, settings.socket_bytes_per_s
        self._messages = TokenBucket(messages, BURST_S * messages)
        self._bytes = TokenBucket(size, max(BURST_S * size, 2 * SOCKET_MESSAGE_BYTES_MAX))
        self._clock = clock
        self.is_spent = False
        """This socket did not wait when it was told to: it is to be ended."""

    def took(self, size: int) -> float | None:
        """A message of so many bytes came. None: welcome; else the seconds to wait."""
        now = self._clock()
        left = min(self._messages.take(1, now), self._bytes.take(size, now))
        self.is_spent |= self._messages.is_spent or self._bytes.is_spent
        return (
            None if left >= 0 else max(self._messages.wait_s(1, now), self._bytes.wait_s(size, now))
        )


def too_fast(wait_s: float) -> CallerError:
    """The error of a message that came too soon."""
    return CallerError(
        "rate_limited",
        f"Expected fewer messages on one socket, try again in {ceil(wait_s)} s",
        {"retryAfterSeconds": ceil(wait_s)},
    )


class Connects:
    """New connections of one address and of all; refused ones cost nothing."""

    def __init__(
        self, settings: GatewaySettings, clock: Callable[[], float], *, most: int = RATE_KEYS_MAX
    ) -> None:
        self._one = settings.connects_per_s
        self._all = TokenBucket(settings.connects_per_s_all, BURST_S * settings.connects_per_s_all)
        self._clock = clock
        self._most = most
        self._callers: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, who: str) -> str | None:
        """None: let in. Else `one` or `all`, whichever has come too often."""
        now = self._clock()
        mine = self._callers.setdefault(who, TokenBucket(self._one, BURST_S * self._one))
        self._callers.move_to_end(who)
        if len(self._callers) > self._most:
            self._callers.popitem(last=False)
        if mine.look(now) < 1:
            return "one"
        if self._all.look(now) < 1:
            return "all"
        mine.take(1, now)
        self._all.take(1, now)
        return None
