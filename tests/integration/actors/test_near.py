"""Calls on one node, past Ray, over real sockets of names that stand nowhere."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from actors import near
from actors.near import Near
from engine.errors import TransientError

PLACE = f"test-{os.getpid()}"


async def _echo(packed: bytes) -> bytes:
    return b"heard " + packed


@asynccontextmanager
async def _serving(
    name: str, handle: Callable[[bytes], Awaitable[bytes]] = _echo
) -> AsyncIterator[Near]:
    server = await near.serve(PLACE, name, handle)
    assert server is not None
    asking = Near(PLACE)
    try:
        yield asking
    finally:
        asking.forget(name)
        server.close()


async def test_ask_of_a_name_that_is_here_is_answered() -> None:
    async with _serving("shard/1") as asking:
        assert await asking.ask("shard/1", b"one") == b"heard one"
        big = os.urandom(3_000_000)
        answers = await asyncio.gather(*(asking.ask("shard/1", big[: 10**n]) for n in range(7)))
        assert answers == [b"heard " + big[: 10**n] for n in range(7)]


async def test_first_asks_at_once_share_a_connection_and_none_is_lost() -> None:
    async with _serving("shard/1") as asking:
        answers = await asyncio.gather(*(asking.ask("shard/1", b"%d" % n) for n in range(50)))
        assert answers == [b"heard %d" % n for n in range(50)]


async def test_answers_go_to_who_asked_whatever_their_order() -> None:
    async def slowly(packed: bytes) -> bytes:
        await asyncio.sleep(0.05 if packed == b"slow" else 0.0)
        return packed

    async with _serving("shard/1", slowly) as asking:
        slow = asyncio.create_task(asking.ask("shard/1", b"slow"))
        await asyncio.sleep(0)
        assert await asking.ask("shard/1", b"quick") == b"quick" and not slow.done()
        assert await slow == b"slow"


async def test_ask_that_was_given_up_leaves_the_next_ones_answers_alone() -> None:
    release = asyncio.Event()

    async def held(packed: bytes) -> bytes:
        if packed == b"held":
            await release.wait()
        return packed

    async with _serving("shard/1", held) as asking:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asking.ask("shard/1", b"held")
        release.set()
        assert await asking.ask("shard/1", b"next") == b"next"


async def test_ask_of_a_name_that_is_not_here_sends_nothing() -> None:
    async with _serving("shard/1") as asking:
        assert await asking.ask("shard/2", b"one") is None
        assert await Near(near.place(PLACE, "another system")).ask("shard/1", b"one") is None


async def test_name_that_comes_later_is_found_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near, "_MET_AGAIN_S", 0.0)
    asking = Near(PLACE)
    assert await asking.ask("shard/3", b"one") is None
    server = await near.serve(PLACE, "shard/3", _echo)
    assert server is not None
    assert await asking.ask("shard/3", b"one") == b"heard one"
    asking.forget("shard/3")
    server.close()


async def test_process_of_a_name_is_known_also_while_it_is_stopped() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_held_in_a_child("shard/5", write))
        finally:
            os._exit(1)
    try:
        assert await asyncio.to_thread(os.read, read, 1) == b"r"
        os.kill(child, signal.SIGSTOP)
        assert near.process(PLACE, "shard/5") == child
    finally:
        os.kill(child, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, child, 0)
    assert near.process(PLACE, "shard/5") == 0


async def test_process_that_dies_under_a_question_is_told_as_dead() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_held_in_a_child("shard/4", write))
        finally:
            os._exit(1)
    assert await asyncio.to_thread(os.read, read, 1) == b"r"
    asking = Near(PLACE)
    asked = asyncio.create_task(asking.ask("shard/4", b"one"))
    await asyncio.sleep(0.1)
    os.kill(child, 9)
    await asyncio.to_thread(os.waitpid, child, 0)
    with pytest.raises(TransientError) as caught:
        await asked
    assert caught.value.code == "actor_died"
    # From now on it is whoever else can tell.
    assert await asking.ask("shard/4", b"two") is None


async def _held_in_a_child(name: str, write: int) -> None:
    async def held(packed: bytes) -> bytes:
        await asyncio.sleep(30.0)
        return packed

    await near.serve(PLACE, name, held)
    os.write(write, b"r")
    await asyncio.sleep(30.0)


async def test_name_is_taken_once() -> None:
    async with _serving("shard/1") as asking:
        assert await near.serve(PLACE, "shard/1", _echo) is None
        assert await asking.ask("shard/1", b"one") == b"heard one"


async def test_another_user_is_neither_asked_nor_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _serving("shard/1") as asking:
        real = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: real + 1)
        assert await asking.ask("shard/1", b"one") is None
        # One that does not look at the user is cut off unanswered.
        monkeypatch.setattr(near, "_connected", _met_blindly)
        blind = Near(PLACE)
        with pytest.raises(TransientError):
            await blind.ask("shard/1", b"one")


async def test_same_user_of_another_container_is_neither_asked_nor_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with _serving("shard/1") as asking:
        # A number that is not seen from here is nobody's.
        assert near._space(0) == "" != near._space("self") == near._space(os.getpid())
        monkeypatch.setattr(near, "_space", str)
        assert await asking.ask("shard/1", b"one") is None
        monkeypatch.setattr(near, "_connected", _met_blindly)
        with pytest.raises(TransientError):
            await Near(PLACE).ask("shard/1", b"one")


def _met_blindly(address: str) -> object:
    met = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    met.setblocking(False)
    met.connect(address)
    return met


async def test_who_does_not_read_is_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "NEAR_UNSENT_BYTES_MAX", 1_000_000)
    async with _serving("shard/1") as asking:
        await asking.ask("shard/1", b"one")
        big = bytes(8_000_000)
        first = asyncio.create_task(asking.ask("shard/1", big))
        await asyncio.sleep(0)
        with pytest.raises(TransientError) as caught:
            await asking.ask("shard/1", b"more")
        assert caught.value.code == "shard_unavailable"
        assert await first == b"heard " + big


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_first_ask_that_is_given_up_at_once_takes_no_other_with_it(
    run: Callable[..., object],
) -> None:
    async def given_up() -> None:
        async with _serving("shard/1") as asking, asyncio.timeout(5.0):
            first = asyncio.create_task(asking.ask("shard/1", b"one"))
            second = asyncio.create_task(asking.ask("shard/1", b"two"))
            await asyncio.sleep(0)
            first.cancel()
            assert await second == b"heard two"
            assert await asking.ask("shard/1", b"three") == b"heard three"

    run(given_up())


async def test_who_is_forgotten_before_it_was_met_is_left_alone() -> None:
    async with _serving("shard/1") as asking:
        asked = asyncio.create_task(asking.ask("shard/1", b"one"))
        await asyncio.sleep(0)
        asking.forget("shard/1")
        with pytest.raises(TransientError):
            async with asyncio.timeout(5.0):
                await asked


async def test_ask_where_no_file_is_to_be_had_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    async with _serving("shard/1") as asking:
        with monkeypatch.context() as patched:
            patched.setattr(near.socket, "socket", none_left)
            assert await asking.ask("shard/1", b"one") is None


async def test_answers_that_nobody_reads_are_not_kept_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near, "NEAR_UNSENT_BYTES_MAX", 1_000_000)

    async def large(packed: bytes) -> bytes:
        await asyncio.sleep(0)
        return bytes(1_000_000)

    async with _serving("shard/1", large):
        asking = near._connected(near._address(PLACE, "shard/1"))
        assert asking is not None
        with asking:
            asking.send(b"".join(near._HEAD.pack(1, number) + b"?" for number in range(20)))
            await asyncio.sleep(0.2)
            asking.settimeout(0.5)
            assert await asyncio.to_thread(_read_of, asking) < 5_000_000


def _read_of(connected: socket.socket) -> int:
    count = 0
    try:
        while more := len(connected.recv(1_000_000)):
            count += more
    except TimeoutError:
        pass
    return count
