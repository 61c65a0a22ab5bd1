"""One connection of the stream door: its frames, its budgets, its topics, its slow reader.

It begins unadmitted: frames are kept, a few, until the door has looked at who it is. Quotes
are answered as they come back; other ops one after the other, so that `unsubscribe` follows
its `subscribe`. What is pushed goes out at once while the reader reads; when the transport's
buffer is full nothing more is read from him, and what is pushed waits in the `Outbox`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest

from engine import limits
from engine.errors import CALLER_CODES, CallerError, RiseCurveError, TransientError
from engine.messages import QuoteReply, QuoteRequest, Refusal
from gateway import stream_protocol as protocol
from gateway.auth import Identity
from gateway.errors import INTERNAL
from gateway.stream_budget import Bucket, Strikes
from gateway.stream_events import Push, gap_of
from gateway.stream_outbox import Outbox

if TYPE_CHECKING:
    from gateway.stream import StreamGateway

CLOSE_S = 1.0
FULL = Refusal("overloaded", "Expected fewer quotes at once on one connection")
Done = Callable[[QuoteReply | Refusal], None]
Slow = protocol.Subscribe | protocol.Unsubscribe | protocol.Authenticate


class Raw(Protocol):
    """The transport below picows'."""

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Array:
    """Quotes of one array, answered together."""

    answers: list[bytes]
    left: int


@dataclass(slots=True)
class _Held:
    """What was pushed of a topic while its subscription was being answered."""

    pushes: list[Push] = field(default_factory=list)
    lost: bool = False


class Connection(WSListener):
    """`door` does what needs more than this one connection."""

    def __init__(self, door: "StreamGateway", request: WSUpgradeRequest) -> None:
        self.request = request
        self.address = ""
        self.identity: Identity | None = None
        self.api_key: str | None = None
        self.topics: set[str] = set()
        self.paused_at: float | None = None
        self.in_flight = 0
        self._door = door
        self._clock = door.clock
        self._transport: WSTransport | None = None
        self._raw: Raw | None = None
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._early: list[bytes] | None = []
        self._parts: list[bytes] | None = None
        self._ops = Bucket(
            door.settings.stream_ops_per_s, self._clock, burst=limits.STREAM_OPS_PER_FRAME_MAX
        )
        self._bytes = Bucket(
            door.settings.stream_bytes_per_s, self._clock, burst=limits.STREAM_FRAME_BYTES_MAX
        )
        window_s = limits.STREAM_FAULTS_S
        self._faults = Strikes(limits.STREAM_FAULTS_MAX, window_s, self._clock)
        self._refused = Strikes(limits.STREAM_REFUSED_MAX, window_s, self._clock)
        self._outbox = Outbox(limits.STREAM_OTHERS_MAX)
        self._held: dict[str, _Held] = {}
        self._slow: deque[Slow] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._queued = self._queued_bytes = 0
        self._reads = True
        self._leaving = False
        self.closing = False

    # ------------------------------------------------------------------- the library's calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade was answered."""
        self._transport = transport
        raw: Any = transport.underlying_transport
        raw.set_write_buffer_limits(high=limits.STREAM_BUFFER_BYTES)
        self._raw = raw
        peer = raw.get_extra_info("peername")
        self._door.connected(self, peer[0] if isinstance(peer, tuple) else None)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Gone, by whomever."""
        self.closing = True
        self._early = self._raw = None
        self._gathered.clear()
        self._flowing.set()
        if self._worker is not None:
            self._worker.cancel()
        self._door.disconnected(self)

    def pause_writing(self) -> None:
        """The reader is slow."""
        self.paused_at = self._clock()
        self._flowing.clear()
        self._read_or_not()

    def resume_writing(self) -> None:
        """The reader reads again."""
        self.paused_at = None
        while self.paused_at is None:
            frame = self._outbox.take()
            if frame is None:
                break
            self._write(frame)
        if self.paused_at is None:
            self._flowing.set()
            self._read_or_not()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Text frames ask, a close is answered, others are refused."""
        if self._leaving or (self.closing and frame.msg_type != WSMsgType.CLOSE):
            return
        if frame.msg_type == WSMsgType.TEXT and frame.fin and self._parts is None:
            self._take(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self._leaving = True
            said = (frame.get_close_code(), frame.get_close_message())
            self._door.turns.take(self._goodbye, said)
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._part(frame)
        elif frame.msg_type == WSMsgType.BINARY:
            self._fault(CallerError("invalid_request", "Expected a text frame, was binary"))

    # ------------------------------------------------------------------------------- frames

    def _part(self, frame: WSFrame) -> None:
        first = frame.msg_type == WSMsgType.TEXT
        if first == (self._parts is not None):
            self.close(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        parts = self._parts = [] if self._parts is None else self._parts
        parts.append(frame.get_payload_as_bytes())
        size = sum(map(len, parts))
        if len(parts) > limits.STREAM_FRAGMENTS_MAX or size > limits.STREAM_FRAME_BYTES_CUT:
            self.close(WSCloseCode.MESSAGE_TOO_BIG, "message too large")
        elif frame.fin:
            self._parts = None
            self._take(b"".join(parts))

    def _take(self, frame: bytes) -> None:
        if len(frame) > limits.STREAM_FRAME_BYTES_MAX:
            # Before it waits anywhere.
            expected = f"Expected {limits.STREAM_FRAME_BYTES_MAX} bytes at most"
            self._fault(CallerError("too_large", f"{expected}, was {len(frame)}"))
            return
        self._queued += 1
        self._queued_bytes += len(frame)
        if not self._door.turns.take(self._next, frame):
            self._read_or_not()

    def _next(self, frame: bytes) -> None:
        self._queued -= 1
        self._queued_bytes -= len(frame)
        if not self.closing:
            self._hear(frame)
        if not self._reads:
            self._read_or_not()

    def _read_or_not(self) -> None:
        # Who does not read his answers, or sends faster than they are made, waits in the kernel.
        share = 1 if self._reads else 2
        reads = (
            self.paused_at is None
            and self._queued * share <= limits.STREAM_QUEUED_FRAMES_MAX
            and self._queued_bytes * share <= limits.STREAM_QUEUED_BYTES_MAX
        )
        if reads == self._reads or self._raw is None or self.closing:
            return
        self._reads = reads
        if reads:
            self._raw.resume_reading()
        else:
            self._raw.pause_reading()

    def _goodbye(self, said: tuple[WSCloseCode, str | None]) -> None:
        # Behind the answers to what was asked before.
        if self._transport is not None and self._raw is not None:
            self._flush()
            self.closing = True
            self._transport.send_close(*said)
            self._transport.disconnect()

    def _hear(self, frame: bytes) -> None:
        if self._early is not None:
            self._early.append(frame)
            size = sum(map(len, self._early))
            if (
                len(self._early) > limits.STREAM_EARLY_FRAMES_MAX
                or size > limits.STREAM_EARLY_BYTES_MAX
            ):
                self.close(WSCloseCode.POLICY_VIOLATION, "too much before the admission")
            return
        try:
            ops, is_array = protocol.read(frame)
        except CallerError as error:
            self._fault(error)
            return
        wait_s = self._bytes.take(len(frame)) or self._ops.take(len(ops))
        if wait_s:
            self._too_fast(ops, wait_s)
        elif is_array:
            self._do_array(ops)
        else:
            self._do(ops[0])

    def _fault(self, error: CallerError) -> None:
        self._refuse("error", None, error)
        self._strike()

    def _strike(self, why: str = "too many faulty frames") -> None:
        if self._faults.strike():
            self.close(WSCloseCode.POLICY_VIOLATION, why)

    def _too_fast(self, ops: list[protocol.Op], wait_s: float) -> None:
        details = {"retryAfterMs": int(wait_s * 1000) + 1}
        error = CallerError("rate_limited", "Expected fewer ops or bytes a second", details)
        for op in ops:
            self._refuse(_name(op), op.id, error)
        self._door.count("rate_limited", len(ops))
        if self._refused.strike(len(ops)):
            self.close(WSCloseCode.POLICY_VIOLATION, "too many ops above the budget")

    # --------------------------------------------------------------------------------- ops

    def _do(self, op: protocol.Op) -> None:
        if not isinstance(op, protocol.Quote):
            self._do_other(op)
        elif self._is_full():
            self._send(self._text(op.id, FULL))
        else:
            self.in_flight += 1
            self._door.markets.begin(op.request, partial(self._quoted, op.id))

    def _do_array(self, ops: list[protocol.Op]) -> None:
        # Answered together: quotes, and what was meant to be one.
        quotes = [one for one in ops if isinstance(one, protocol.Quote | protocol.Fault)]
        array = _Array([b""] * len(quotes), len(quotes))
        for place, op in enumerate(quotes):
            if isinstance(op, protocol.Quote) and self._is_full():
                self._place(array, place, self._text(op.id, FULL))
            elif isinstance(op, protocol.Quote):
                self.in_flight += 1
                done = partial(self._quoted_of, array, place, id=op.id)
                # Each has a turn of its own: an array is longer than a slice.
                self._door.turns.take(self._begin, (op.request, done))
            else:
                self._place(array, place, _refused(op.op, op.id, op.error))
        for other in ops:
            if not isinstance(other, protocol.Quote | protocol.Fault):
                self._do_other(other)
        if any(isinstance(one, protocol.Fault) for one in quotes):
            self._strike()

    def _do_other(self, op: protocol.Op) -> None:
        if isinstance(op, protocol.Ping):
            self.answer("ping", op.id, {"timeMs": self._door.time_ms()})
        elif isinstance(op, protocol.Fault):
            self._refuse(op.op, op.id, op.error)
            self._strike()
        elif not isinstance(op, protocol.Quote):
            if len(self._slow) >= limits.STREAM_CALLS_WAITING_MAX:
                error = TransientError("overloaded", "Expected fewer ops at once")
                self._refuse(_name(op), op.id, error)
                return
            self._slow.append(op)
            if self._worker is None:
                self._worker = asyncio.create_task(self._work())

    def _begin(self, asked: tuple[QuoteRequest, Done]) -> None:
        self._door.markets.begin(*asked)

    def _is_full(self) -> bool:
        return self.in_flight >= limits.STREAM_IN_FLIGHT_MAX or self._door.draining

    def _quoted(self, id: protocol.Id, reply: QuoteReply | Refusal) -> None:
        self.in_flight -= 1
        self._send(self._text(id, reply))

    def _quoted_of(
        self, array: _Array, place: int, reply: QuoteReply | Refusal, *, id: protocol.Id
    ) -> None:
        self.in_flight -= 1
        self._place(array, place, self._text(id, reply))

    def _place(self, array: _Array, place: int, text: bytes) -> None:
        array.answers[place] = text
        array.left -= 1
        if array.left == 0:
            self._send(protocol.many(array.answers))

    def _text(self, id: protocol.Id, reply: QuoteReply | Refusal) -> bytes:
        if isinstance(reply, QuoteReply):
            self._door.count("ok", 1)
            return protocol.quote_answer(id, reply)
        self._door.count(reply.code, 1)
        return protocol.refusal("quote", id, code=reply.code, message=reply.message)

    async def _work(self) -> None:
        try:
            while self._slow and not self.closing:
                await self._flowing.wait()
                op = self._slow.popleft()
                try:
                    await self._door.serve(self, op)
                except RiseCurveError as error:
                    self._refuse(_name(op), op.id, error)
                    if isinstance(op, protocol.Authenticate) and isinstance(error, CallerError):
                        # Each guess at a key may cost the store a question.
                        self._strike("too many logins that are none")
        finally:
            self._worker = None

    # ------------------------------------------------------------------------ for the door

    def admitted(self) -> None:
        """From now on frames are heard, those that waited first."""
        early, self._early = self._early, None
        for frame in early or ():
            if not self.closing:
                self._hear(frame)

    def known(self, identity: Identity | None, api_key: str | None = None) -> None:
        """Who it is, by which key if by one, and so what it may spend."""
        self.identity, self.api_key = identity, api_key
        settings = self._door.settings
        per_s = settings.stream_key_ops_per_s if identity else settings.stream_ops_per_s
        self._ops.change(per_s, burst=limits.STREAM_OPS_PER_FRAME_MAX)

    @property
    def who(self) -> str:
        """Whose budget it spends: the wallet's that is logged in, or its address's."""
        return self.address if self.identity is None else "0x" + self.identity.address.hex()

    def answer(self, op: str, id: protocol.Id, data: dict[str, Any]) -> None:
        """What an op gave."""
        self._send(protocol.answer(op, id, data))

    def hold(self, topic: str) -> None:
        """Keep what is pushed of a topic until `release`: its answer is to come first."""
        self._held.setdefault(topic, _Held())

    def release(self, topic: str, *, generation: str | None, seq: int | None) -> None:
        """Let what was kept go out, but for what the answer has said already."""
        held = self._held.pop(topic, None)
        if held is None or topic not in self.topics:
            return
        for push in held.pushes:
            said = push.seq is not None and seq is not None and push.seq <= seq
            if not (said and push.generation == generation):
                self.push(push)
        if held.lost:
            self.push(gap_of(topic))

    def push(self, packet: Push) -> None:
        """One message of a topic. Never waits, never raises."""
        held = self._held.get(packet.topic)
        if held is not None:
            if len(held.pushes) < limits.STREAM_OTHERS_MAX:
                held.pushes.append(packet)
            else:
                held.lost = True
        elif self.paused_at is None and not self._outbox:
            self._write(packet.frame)
        else:
            self._outbox.offer(packet)

    def left(self, topic: str) -> None:
        """Nothing more of this topic."""
        self.topics.discard(topic)
        self._held.pop(topic, None)
        self._outbox.forget(topic)

    def refuse(self, error: RiseCurveError) -> None:
        """Say why, and end it."""
        self._refuse("error", None, error)
        self.close(WSCloseCode.POLICY_VIOLATION, error.code)

    def close(self, code: WSCloseCode, reason: str) -> None:
        """Say goodbye; the connection is cut if the other side does not answer."""
        if self.closing or self._transport is None:
            return
        self._flush()
        self.closing = True
        self._early = None
        self._transport.send_close(code, reason)
        asyncio.get_running_loop().call_later(CLOSE_S, self._transport.disconnect)

    def cut(self) -> None:
        """End it without a word."""
        self.closing = True
        if self._raw is not None:
            self._raw.abort()

    # ------------------------------------------------------------------------------ writing

    def _refuse(self, op: str, id: protocol.Id, error: RiseCurveError) -> None:
        self._send(_refused(op, id, error))

    def _send(self, payload: bytes) -> None:
        self._write(protocol.framed(payload))

    def _write(self, frame: bytes) -> None:
        # Past picows, and one call of the kernel for all that is written in a turn of the loop.
        if self.closing:
            return
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.append(frame)
        self._gathered_bytes += len(frame)
        if self._gathered_bytes >= limits.STREAM_GATHERED_BYTES:
            self._flush()

    def _flush(self) -> None:
        frames, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if frames and self._raw is not None and not self.closing:
            self._raw.write(b"".join(frames))


def _name(op: protocol.Op) -> str:
    return op.op if isinstance(op, protocol.Fault) else type(op).__name__.lower()


def _refused(op: str, id: protocol.Id, error: RiseCurveError) -> bytes:
    public = error.code in CALLER_CODES or isinstance(error, TransientError)
    code = error.code if public else INTERNAL
    message = error.message if public else "Something went wrong on our side"
    return protocol.refusal(op, id, code=code, message=message, details=error.details)
