"""The guards round the Socket.IO library: packets, frames, queues."""

import asyncio

import pytest

from gateway.sockets import OutQueue, TextPacket, _well_formed, encode_event
from gateway.units import Number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        '51-["quote",{}]',
        '61-["x"]',
        "4",
        "9",
        "2",
        "2{}",
        "2[]",
        "2[7]",
        '2["connect"]',
        '2["disconnect",1]',
        "0[]",
        '2["a"',
        "2\u00b2",
        "x",
        "3{}",
        "2" + "[" * 9_000,
    ],
)
def test_packet_of_another_shape_raises(text: str) -> None:
    with pytest.raises(Exception, match=r"Expected|invalid"):
        TextPacket(encoded_packet=text) if text else TextPacket().decode(text)


def test_packet_keeps_numbers_exact() -> None:
    packet = TextPacket(encoded_packet='27["quote",{"slippage":0.10,"forBlock":7}]')
    assert (packet.id, packet.data) == (7, ["quote", {"slippage": Number("0.10"), "forBlock": 7}])


def test_packet_of_an_answer_is_compact_json() -> None:
    assert TextPacket(3, data=[{"a": 1}], id=7).encode() == '37[{"a":1}]'


@pytest.mark.parametrize("frame", ["2probe", "5", "3", "1", '42["x"]', "40", "40{}", "2"])
def test_frame_of_the_protocol_passes(frame: str) -> None:
    assert _well_formed(frame)


@pytest.mark.parametrize(
    "frame", ["", "4", "4x", "4[", "7", "b64", "2[[[[", "x" * 20, "2" + "a" * 9]
)
def test_frame_of_no_kind_does_not_pass(frame: str) -> None:
    assert not _well_formed(frame)


async def test_queue_drops_beyond_its_bound_marks_it_and_takes_the_end() -> None:
    queue = OutQueue(most=2)
    for number in range(5):
        await asyncio.wait_for(queue.put(number), 1)
    assert (queue.qsize(), queue.overflowed) == (2, True)
    queue.put_nowait(None)
    assert [queue.get_nowait() for _ in range(3)] == [0, 1, None]
    await asyncio.wait_for(queue.join(), 1)


def test_event_is_encoded_once() -> None:
    packet = encode_event("price", b'{"a":"\xe2\x82\xac"}')
    assert packet.encode() == '42["price",{"a":"€"}]'
    assert packet.encode() is packet.encode()
