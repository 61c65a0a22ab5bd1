"""SIGINT and SIGTERM: how a command hears that it is to end, and is left alone while it does."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[None]:
    """Before a loop runs, and after: a SIGTERM ends like Ctrl-C, so that servers are stopped."""

    def interrupt(number: int, frame: object) -> None:
        end_undisturbed()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted")
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def end_undisturbed() -> None:
    """From now on SIGTERM does nothing; Ctrl-C still does.

    A loop that ends takes its handlers with it, and Ray does. A second SIGTERM would end us amid
    servers that are being stopped, which takes a bounded time.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: None)


def signalled() -> asyncio.Event:
    """Set by either, while the running loop does."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    return event


async def until_signalled() -> None:
    """Return at either."""
    await signalled().wait()
