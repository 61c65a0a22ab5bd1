"""What the stream remembers of nodes without shreds; sockets are tested elsewhere."""

import pytest

from chain.stream import REFUSED_S, LiveStreams, Refusals
from engine.errors import TransientError


def test_refusals_are_remembered_for_a_while_by_url() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    assert refusals.reason("ws://a") is None
    refusals.note("ws://a", "unknown variant")
    assert refusals.reason("ws://a") == "unknown variant" and refusals.reason("ws://b") is None
    now = REFUSED_S + 1
    assert refusals.reason("ws://a") is None


async def test_streams_without_a_url_fail_at_once() -> None:
    with pytest.raises(TransientError, match="WebSocket URL"):
        await LiveStreams(lambda: "", ["0x01"])().frames()
