"""One connected socket of Socket.IO: its topics, its login, its calls under way."""

from typing import Any

from engine.errors import TransientError
from engine.limits import SOCKET_CALLS_MAX
from gateway.auth import Identity
from gateway.sockets import Shared, encode_text, shared, written


class Client:
    """`socket` is the engine's, with what `sockets.guard` put on it."""

    def __init__(self, sid: str, socket: Any) -> None:
        self.sid = sid
        self.socket = socket
        self.topics: set[str] = set()
        self.calls = 0
        self.identity: Identity | None = None

    @property
    def who(self) -> str:
        """Whose budget it spends: the wallet's that is logged in, or its address's."""
        if self.identity is not None:
            return "0x" + self.identity.address.hex()
        return str(self.socket.intake.address)

    def begin(self) -> None:
        """A call is under way. Raises TransientError("overloaded"); then none is."""
        if self.calls >= SOCKET_CALLS_MAX:
            raise TransientError("overloaded", "Expected fewer calls at once on one socket")
        self.calls += 1

    def end(self) -> None:
        """A call is over."""
        self.calls -= 1

    def push(self, packet: Shared) -> None:
        """Send one message of a topic: at once, or behind what waits for a slow reader; a queue
        that is full marks the socket for eviction.
        """
        if not self.socket.closed:
            shared(self.socket, packet)

    def acknowledge(self, text: str) -> None:
        """Send a Socket.IO packet of `4…`: at once, or behind what waits for a slow reader."""
        if not self.socket.closed and not written(self.socket, text):
            self.socket.queue.put_nowait(encode_text(text))
