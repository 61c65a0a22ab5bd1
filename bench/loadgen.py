"""One load generator for all doors and peers, in a process of its own.

    python -m bench.loadgen        one plan as JSON a line in, one result as JSON a line out

*Closed loop*: each of N clients keeps W quotes in flight. *Open loop*: quotes are due at a
steady rate whatever the answers do, and latency counts from when a quote was due, not from when
it could be sent: a door that stands still is charged for all who waited (coordinated omission).
What this process can do at most is measured with `bench.peers.echo` and stands in each report.
"""

import asyncio
import gc
import json
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any, Protocol

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.arrays import summed
from bench.contract import eth_call_wire
from bench.wires import MIX, WIRES, Wire, choices

TICK_S = 0.001
CONNECTS_AT_ONCE = 50
CONNECT_TIMEOUT_S = 60.0
IN_FLIGHT_MAX = 50_000
COUNTED_EVERY = 50
DRAIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`rate` 0: closed loop with `window` a client; else quotes a second of all together."""

    wire: str
    port: int
    host: str = "127.0.0.1"
    clients: int = 1
    window: int = 1
    rate: float = 0.0
    seconds: float = 2.0
    warm_s: float = 0.3
    tokens: tuple[str, ...] = ()
    zipf: bool = False
    mix: dict[str, float] = field(default_factory=MIX.copy)
    seed: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    contract: dict[str, str] = field(default_factory=dict)


class Client(Protocol):
    """One connection. `ask(due_ns)` sends the next quote."""

    @property
    def in_flight(self) -> int: ...
    def ask(self, due_ns: int) -> None: ...
    def close(self) -> None: ...


class Tally:
    """What came back. Counts between `begin` and `end` only."""

    def __init__(self) -> None:
        self.latencies: array[int] = array("q")
        self.errors: Counter[str] = Counter()
        self.good = 0
        self.lost = 0
        self.counting = False
        self.running = True
        self.began_ns = 0

    def note(self, due_ns: int, now_ns: int, answer: bytes, *, good: bool) -> None:
        """One answer."""
        if not self.counting:
            return
        if good:
            self.good += 1
            self.latencies.append(now_ns - due_ns)
        else:
            self.errors[_code(answer)] += 1


class WsClient(WSListener):
    """A WebSocket, spoken in frames of our own making: masked by zeros, gathered by the loop."""

    def __init__(self, wire: Wire, tails: list[bytes], tally: Tally, *, refill: bool) -> None:
        self._wire = wire
        self._tails = cycle(tails)
        self._tally = tally
        self._refill = refill
        self._sent: dict[int, int] = {}
        self._id = 0
        self._write: Callable[[bytes], None] | None = None
        self.transport: WSTransport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def in_flight(self) -> int:
        """Quotes that wait for an answer."""
        return len(self._sent)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Socket.IO has a handshake of its own; others begin at once."""
        self.transport = transport
        self._write = transport.underlying_transport.write
        if self._wire.name != "socketio":
            self.ready.set_result(None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """An answer, or something of the protocol."""
        if frame.msg_type != WSMsgType.TEXT:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
            return
        answer = frame.get_payload_as_bytes()
        id = self._wire.id_of(answer)
        if id < 0:
            self._other(answer)
            return
        now = time.perf_counter_ns()
        due = self._sent.pop(id, 0)
        self._tally.note(due, now, answer, good=self._wire.good(answer))
        if self._refill and self._tally.running:
            self.ask(now)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """What was in flight is lost."""
        if self._tally.running:
            self._tally.lost += len(self._sent) or 1
        self._write = None
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("Expected a connection, was refused"))

    def pause_writing(self) -> None:
        """What waits is bounded by what is in flight."""

    def resume_writing(self) -> None:
        """As before."""

    def ask(self, due_ns: int) -> None:
        """The next quote."""
        if self._write is None:
            return
        self._id = id = self._id + 1
        self._sent[id] = due_ns
        self._write(masked(b"%b%d%b" % (self._wire.head, id, next(self._tails))))

    def close(self) -> None:
        """The end."""
        if self.transport is not None:
            self.transport.disconnect()

    def _other(self, frame: bytes) -> None:
        # Socket.IO: 0 opens, 40 is the namespace, 2 a ping; the stream door's error has no id.
        if frame.startswith(b"0{"):
            self._say(b"40")
        elif frame.startswith(b"40"):
            self.ready.set_result(None)
        elif frame == b"2":
            self._say(b"3")
        elif frame.startswith(b"{") and self._tally.counting:
            self._tally.errors[_code(frame)] += 1

    def _say(self, text: bytes) -> None:
        if self._write is not None:
            self._write(masked(text))


class HttpClient(asyncio.Protocol):
    """A kept HTTP/1.1 connection with one request under way; others wait for it."""

    def __init__(self, wire: Wire, tails: list[bytes], tally: Tally, *, refill: bool) -> None:
        self._wire = wire
        self._tails = cycle(tails)
        self._tally = tally
        self._refill = refill
        self._due: list[int] = []
        self._buffer = b""
        self._transport: Any = None

    @property
    def in_flight(self) -> int:
        """Requests that wait for an answer, or to be sent."""
        return len(self._due)

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """What was in flight is lost."""
        if self._tally.running:
            self._tally.lost += len(self._due) or 1
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """A part of an answer, or more."""
        self._buffer += data
        while (found := _response(self._buffer)) is not None:
            body, self._buffer = found
            now = time.perf_counter_ns()
            self._tally.note(self._due.pop(0), now, body, good=self._wire.good(body))
            if self._due:
                self._send()
            elif self._refill and self._tally.running:
                self.ask(now)

    def ask(self, due_ns: int) -> None:
        """The next quote."""
        self._due.append(due_ns)
        if len(self._due) == 1:
            self._send()

    def close(self) -> None:
        """The end."""
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        if self._transport is not None:
            self._transport.write(next(self._tails))


def masked(payload: bytes) -> bytes:
    """A client's text frame; its mask is four zeros, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, 0x80 | size)) + b"\0\0\0\0" + payload
    return b"\x81\xfe" + size.to_bytes(2, "big") + b"\0\0\0\0" + payload


async def run(plan: Plan) -> dict[str, Any]:
    """Connect, warm up, measure, and say what was found."""
    tally = Tally()
    wire = eth_call_wire(plan.contract) if plan.wire == "eth_call" else WIRES[plan.wire]
    clients = await _connected(plan, wire, tally)
    feeding: asyncio.Task[int] | None = None
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        if plan.rate:
            feeding = asyncio.create_task(_feed(clients, plan.rate, tally))
        else:
            now = time.perf_counter_ns()
            for client in clients:
                for _ in range(1 if wire.is_http else plan.window):
                    client.ask(now)
        await asyncio.sleep(plan.warm_s)
        tally.counting = True
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(plan.seconds)
        tally.counting = False
        took, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    finally:
        tally.running = False
        gc.enable()
    skipped = await feeding if feeding is not None else 0
    await _drained(clients)
    for client in clients:
        client.close()
    latency, histogram = summed(tally.latencies)
    return {
        "answers": tally.good,
        "errors": dict(tally.errors),
        "lost": tally.lost,
        "skipped": skipped,
        "seconds": took,
        "rate_per_s": tally.good / took,
        "latency": latency.as_dict(),
        "histogram": histogram,
        "loadgen_cpu_share": cpu_s / took,
    }


async def _feed(clients: list[Client], rate: float, tally: Tally) -> int:
    # Every tick sends what is due by now, each with the time at which it was due.
    began = time.perf_counter_ns()
    step_ns = 1e9 / rate
    sent = skipped = waiting = 0
    turn = cycle(clients)
    for tick in count():
        if not tally.running:
            break
        due = int((time.perf_counter_ns() - began) / step_ns)
        if tick % COUNTED_EVERY == 0:
            waiting = sum(client.in_flight for client in clients)
        while sent < due:
            if waiting >= IN_FLIGHT_MAX:
                skipped += due - sent
                sent = due
                break
            next(turn).ask(began + int(sent * step_ns))
            sent, waiting = sent + 1, waiting + 1
        await asyncio.sleep(TICK_S)
    return skipped


async def _connected(plan: Plan, wire: Wire, tally: Tally) -> list[Client]:
    gate = asyncio.Semaphore(CONNECTS_AT_ONCE)
    loop = asyncio.get_running_loop()
    number_of = plan.clients * plan.window if wire.is_http and not plan.rate else plan.clients
    refill = not plan.rate
    url = f"ws://{plan.host}:{plan.port}{wire.path}"

    async def one(number: int) -> Client:
        asked = choices(plan.tokens, plan.seed * 100_003 + number, zipf=plan.zipf, mix=plan.mix)
        tails = [wire.tail(choice) for choice in asked]
        async with gate:
            if wire.is_http:
                _, http = await loop.create_connection(
                    lambda: HttpClient(wire, tails, tally, refill=refill), plan.host, plan.port
                )
                return http
            made = WsClient(wire, tails, tally, refill=refill)
            await ws_connect(lambda: made, url, extra_headers=plan.headers)
            await made.ready
            return made

    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        return list(await asyncio.gather(*(one(number) for number in range(number_of))))


async def _drained(clients: list[Client]) -> None:
    for _ in range(int(DRAIN_S / 0.02)):
        if not any(client.in_flight for client in clients):
            return
        await asyncio.sleep(0.02)


def _response(buffer: bytes) -> tuple[bytes, bytes] | None:
    # (body, rest) of a whole answer with a Content-Length.
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[:end].lower()
    at = head.index(b"content-length:") + 15
    stop = head.find(b"\r\n", at)
    size = int(head[at : stop if stop >= 0 else end])
    if len(buffer) < end + 4 + size:
        return None
    return buffer[end + 4 : end + 4 + size], buffer[end + 4 + size :]


def _code(answer: bytes) -> str:
    at = answer.find(b'"code":"')
    return answer[at + 8 : answer.index(b'"', at + 8)].decode() if at >= 0 else "unreadable"


def main() -> None:
    """Plans in, results out; a plan that cannot be done gives `{"failed": …}`."""
    for line in sys.stdin:
        plan = Plan(**json.loads(line))
        try:
            result = uvloop.run(run(plan))
        except (OSError, TimeoutError, ValueError) as error:
            result = {"failed": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
