"""What the stream remembers of nodes without shreds; sockets are tested elsewhere."""

import asyncio
from typing import Any

import orjson
import pytest

from chain.shreds import ShredReader
from chain.stream import REFUSED_S, Frame, LiveStream, LiveStreams, Refusals
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


def _shred(*logs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    receipt = {"type": "0x2", "status": "0x1", "cumulativeGasUsed": "0x1", "logs": list(logs)}
    told = {"hash": "0x" + "07" * 32, "signer": "0x" + "01" * 20, "type": "0x2"}
    shred = {"blockNumber": 5, "shredIdx": 0, "blockTimestamp": 1, "startingLogIndex": 0}
    return shred | {"transactions": [{"transaction": told, "receipt": receipt}]} | fields


LOG = {"address": "0x" + "22" * 20, "topics": ["0x" + "01" * 32], "data": "0x"}
KNOWN, BARE, STRANGE = _shred(LOG), _shred(), _shred(LOG, blockNumber=None)


def _taken(*shreds: dict[str, Any]) -> tuple[int, str | None]:
    """(frames that were passed on, why the URL is not asked any more), with what is passed on
    read as the listener does.
    """
    refusals = Refusals()
    stream = LiveStream("ws://a", [], refusals=refusals)
    stream._kinds["0x3"] = "shred"
    try:
        for one in shreds:
            message = {"params": {"subscription": "0x3", "result": one}}
            stream._take(message, 1)
    except TransientError:
        pass
    passed, reader = stream._queue.qsize(), ShredReader()
    for _ in range(passed):
        frame = stream._queue.get_nowait()
        assert isinstance(frame, Frame)
        try:
            reader.read(frame.payload)
        except TransientError as error:
            stream.refuse_shreds(str(error))
    return passed, refusals.reason("ws://a")


@pytest.mark.parametrize("before", [(), (BARE,), (BARE, BARE)])
def test_shreds_spelt_otherwise_are_refused_until_one_with_a_log_was_read(
    before: tuple[dict[str, Any], ...],
) -> None:
    passed, reason = _taken(*before, STRANGE)
    assert passed == len(before) and reason is not None and "as we know it" in reason


def test_shreds_after_one_with_a_log_are_read_by_the_listener_alone_and_refused_by_it() -> None:
    passed, reason = _taken(BARE, KNOWN, KNOWN, STRANGE)
    assert passed == 4 and reason is not None and "as we know it" in reason
    assert _taken(BARE, KNOWN, KNOWN) == (3, None)


def _log_message(block_hash: str | None) -> bytes:
    push = {"subscription": "0x2", "result": LOG | {"blockHash": block_hash}}
    return orjson.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": push})


async def _heard(*, shreds: bool, message: bytes) -> int:
    """Frames that are passed on, where the node has shreds or not."""
    stream = LiveStream("ws://a", [], refusals=Refusals())
    loop = asyncio.get_running_loop()
    for number, kind in enumerate(("shred", "log") if shreds else ("log",), 1):
        stream._asked = number, kind, loop.create_future()
        result = {"shred": "0x3", "log": "0x2"}[kind]
        stream.hear(orjson.dumps({"id": number, "result": result}), 1)
    stream.hear(message, 1)
    return stream._queue.qsize()


@pytest.mark.parametrize("spelling", ["compact", "spaced"])
async def test_hashless_logs_are_left_out_where_shreds_tell_them(spelling: str) -> None:
    def spelt(message: bytes) -> bytes:
        return message if spelling == "compact" else message.replace(b":", b" : ")

    hashless, sealed = spelt(_log_message(None)), spelt(_log_message("0x" + "09" * 32))
    zero = spelt(_log_message("0x" + "00" * 32))
    assert await _heard(shreds=True, message=hashless) == 0
    assert await _heard(shreds=True, message=zero) == 0
    assert await _heard(shreds=True, message=sealed) == 1
    assert await _heard(shreds=False, message=hashless) == 1


def test_shreds_that_were_not_asked_for_are_refused_without_a_memory() -> None:
    LiveStream("ws://a", []).refuse_shreds("no")


@pytest.mark.parametrize("name", [b"[1]", b"{}", b"null", b"7", b'"0x9"'])
async def test_pushes_of_no_subscription_are_left_out(name: bytes) -> None:
    stream = LiveStream("ws://a", [])
    stream.hear(b'{"method":"eth_subscription","params":{"subscription":%b,"result":{}}}' % name, 0)
    assert stream._queue.empty() and not stream._ended
