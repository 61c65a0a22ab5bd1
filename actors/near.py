"""Calls between processes of one node, past Ray: over a Unix socket.

A Ray call takes more than a millisecond, and of both processes as much of the processor (measured);
this one is a frame there and a frame back. So each actor listens under its name, and whoever is
on the same node and finds it asks it there. The guarantee is that of a Ray call: at most once, no
order, and where the process dies the call fails.

Names are abstract ones of Linux, which leave nothing behind. Anybody of the machine may try them,
and what crosses is pickle: so each side looks at the other's user first, and takes its own only. A
container that shares the network has them too, and its root has our number: so it also looks
whether the other has its process ids where we have ours.
"""

import asyncio
import hashlib
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from engine.errors import TransientError
from engine.limits import NEAR_UNSENT_BYTES_MAX

_HEAD = struct.Struct("<IQ")
"""Length of what follows, and the number of the call."""

_BYTES_MAX = 2**32 - 1
_BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")
_MET_AGAIN_S = 1.0
"""Who was not found is looked for again after this long: it may be starting."""

Handle = Callable[[bytes], Awaitable[bytes]]


class _Wire(asyncio.Protocol):
    # Frames of one connection, in both directions.

    def __init__(
        self, heard: Callable[["_Wire", int, bytes], None], gone: Callable[[], None]
    ) -> None:
        self._heard = heard
        self._gone = gone
        self._buffer = bytearray()
        self._early: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop is none by its class.
        self._transport = cast(asyncio.Transport, transport)
        if self._ended:
            self._transport.abort()
        for frame in self._early:
            self._transport.write(frame)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        buffer, at = self._buffer, 0
        buffer += data
        while len(buffer) - at >= _HEAD.size:
            length, number = _HEAD.unpack_from(buffer, at)
            end = at + _HEAD.size + length
            if len(buffer) < end:
                break
            self._heard(self, number, bytes(memoryview(buffer)[at + _HEAD.size : end]))
            at = end
        if at:
            del buffer[:at]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._ended = None, True
        self._gone()

    @property
    def unsent(self) -> int:
        # Bytes that the other side has not taken yet.
        return self._transport.get_write_buffer_size() if self._transport else 0

    def send(self, number: int, data: bytes) -> None:
        frame = _HEAD.pack(len(data), number) + data
        if self._transport is not None:
            self._transport.write(frame)
        elif not self._ended:
            self._early.append(frame)

    def close(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.abort()


class _Peer:
    # The asking side of one connection.

    def __init__(self, forget: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.wire = _Wire(self._heard, self._gone)
        self._forget = forget
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._count = 0
        self._meeting: asyncio.Task[object] | None = None

    def meet(self, met: socket.socket) -> None:
        # By a task of its own: who asks first may be given up, and others wait for it too.
        connecting = self.loop.create_unix_connection(lambda: self.wire, sock=met)
        self._meeting = self.loop.create_task(connecting)
        self._meeting.add_done_callback(self._has_met)

    async def ask(self, packed: bytes) -> bytes:
        if self.wire.unsent > NEAR_UNSENT_BYTES_MAX:
            raise TransientError("shard_unavailable", "Expected what was asked before to be read")
        self._count += 1
        number = self._count
        answered: asyncio.Future[bytes] = self.loop.create_future()
        self._asked[number] = answered
        try:
            self.wire.send(number, packed)
            return await answered
        finally:
            del self._asked[number]

    def _has_met(self, meeting: asyncio.Task[object]) -> None:
        if meeting.cancelled() or meeting.exception() is not None:
            self._gone()

    def _heard(self, _: _Wire, number: int, data: bytes) -> None:
        answered = self._asked.get(number)
        if answered is not None and not answered.done():
            answered.set_result(data)

    def _gone(self) -> None:
        self._forget()
        for answered in self._asked.values():
            if not answered.done():
                text = "Expected a living process, its connection is gone"
                answered.set_exception(TransientError("actor_died", text))


def place(node: str, namespace: str) -> str:
    """Where names are one's own: nodes may share a machine, and systems a node."""
    return hashlib.sha256(f"{node} {namespace}".encode()).hexdigest()[:24]


class Near:
    """Other actors of this `place`, by name."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._peers: dict[str, _Peer] = {}
        self._missed: dict[str, float] = {}

    async def ask(self, name: str, packed: bytes) -> bytes | None:
        """The answer; None: nothing was sent, since it is not here, or cannot be met.

        Raises TransientError: `actor_died`, it may have heard the question; `shard_unavailable`,
        it does not read.
        """
        peer = self._peers.get(name)
        if peer is None or peer.loop is not asyncio.get_running_loop():
            # A command of the operator's may run one loop after another.
            peer = self._meet(name)
        if peer is None or len(packed) > _BYTES_MAX:
            return None
        return await peer.ask(packed)

    def forget(self, name: str) -> None:
        """It was ended."""
        self._missed.pop(name, None)
        peer = self._peers.pop(name, None)
        if peer is not None:
            peer.wire.close()

    def _meet(self, name: str) -> _Peer | None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._missed.get(name, float("-inf")) < _MET_AGAIN_S:
            return None
        met = _connected(_address(self._place, name))
        if met is None:
            since = loop.time() - _MET_AGAIN_S
            self._missed = {one: at for one, at in self._missed.items() if at > since}
            self._missed[name] = loop.time()
            return None
        self._missed.pop(name, None)
        peer = _Peer(lambda: self._lost(name, peer))
        self._peers[name] = peer
        peer.meet(met)
        return peer

    def _lost(self, name: str, peer: _Peer) -> None:
        if self._peers.get(name) is peer:
            del self._peers[name]


def process(place: str, name: str) -> int:
    """The process id of who is asked as `name` here, also of one that is stopped; 0: nobody is."""
    met = _connected(_address(place, name))
    if met is None:
        return 0
    with met:
        return _peer(met)[0]


async def serve(place: str, name: str, handle: Handle) -> asyncio.AbstractServer | None:
    """Answer who asks `name` here, until closed. None: not on this system, or the name is taken."""
    if sys.platform != "linux":
        return None
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(_address(place, name))
    except OSError:
        listening.close()
        return None
    listening.setblocking(False)
    tasks: set[asyncio.Task[None]] = set()

    async def answer(wire: _Wire, number: int, data: bytes) -> None:
        answered = await handle(data)
        # Who does not read waits no more, sooner or later; nothing is kept for it without end.
        if wire.unsent <= NEAR_UNSENT_BYTES_MAX:
            wire.send(number, answered)

    def heard(wire: _Wire, number: int, data: bytes) -> None:
        task = asyncio.create_task(answer(wire, number, data))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(
        lambda: _Guarded(heard, lambda: None), sock=listening, backlog=_BACKLOG
    )


class _Guarded(_Wire):
    # Of the answering side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not _is_ours(transport.get_extra_info("socket")):
            self.close()


def _connected(address: str) -> socket.socket | None:
    if sys.platform != "linux":
        return None
    try:
        met = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:  # too many files are open
        return None
    met.setblocking(False)
    try:
        # At once or not at all: nobody is there, or too many wait.
        met.connect(address)
    except OSError:
        met.close()
        return None
    if not _is_ours(met):
        met.close()
        return None
    return met


def _is_ours(connected: socket.socket) -> bool:
    process, user = _peer(connected)
    return user == os.getuid() and _space(process) == _space("self")


def _peer(connected: socket.socket) -> tuple[int, int]:
    # The process and the user on the other side.
    said = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(said)
    return int(process), int(user)


def _space(process: int | str) -> str:
    # Its process ids are of this one. Those that are not seen from here have the number 0.
    try:
        return str(Path(f"/proc/{process}/ns/pid").readlink())
    except OSError:
        return ""


def _address(place: str, name: str) -> str:
    # Of 107 bytes at most.
    return f"\0risecurve/{place}/{name}"[:107]
