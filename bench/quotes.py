"""Part "quotes": the same quote at each door and each peer, measured in turn.

Gated ratios come from alternations: in each, all contestants of the ratio are measured once,
in an order that turns, so that what the machine does meanwhile hits all alike. The grid of
clients and windows is measured once and is for the plots.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import system
from bench.loadgen import Plan
from bench.processes import BenchError, Generator, Peer, python, started
from bench.results import Results
from bench.stats import Ratio, ratio

BUSY = (50, 16)
ALONE = (1, 1)
GRID = tuple((clients, window) for window in (1, 16) for clients in (1, 50, 500))
TOKENS = 16
CONNECTIONS_MAX = 1_000

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A door or a peer, with the wire that it is asked over."""

    name: str
    peer: Peer
    wire: str
    contract: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A ratio: of two contestants, at a shape, of the rate or the median latency."""

    name: str
    ours: str
    theirs: str
    shape: tuple[int, int] = BUSY
    latency: bool = False


RATIOS = (
    Wanted("stream_vs_node_socketio", "stream", "node_socketio"),
    Wanted("stream_vs_node_ws", "stream", "node_ws"),
    Wanted("stream_actors_vs_node_socketio", "stream_actors", "node_socketio"),
    Wanted("stream_vs_node_redis", "stream", "node_redis_socketio"),
    Wanted("stream_vs_eth_call", "stream", "eth_call"),
    Wanted("socketio_vs_python_socketio", "socketio", "python_socketio"),
    # The same work in one process each: without the actors, and without their cores.
    Wanted("socketio_door_vs_python_socketio", "socketio_door", "python_socketio"),
    Wanted("rest_vs_express", "rest", "express"),
    Wanted("stream_p50_vs_node_socketio_p50", "stream", "node_socketio", shape=ALONE, latency=True),
)
ACTORS = "stream_actors"
"""The stream door of a system whose quotes go through the actors; elsewhere its replica answers."""

PATHS = ("replica", "actor")


@dataclass(frozen=True, slots=True)
class Effort:
    """How long, how often."""

    alternations: int = 12
    seconds: float = 1.5
    grid: bool = True
    only: frozenset[str] = frozenset()


def run(results: Results, effort: Effort, tell: Tell) -> None:
    """Fill `results`."""
    wanted = [one for one in RATIOS if not effort.only or one.name in effort.only]
    with Generator() as generator:
        _ceiling(generator, results, effort, tell=tell)
        for path in PATHS:
            chosen = [one for one in wanted if (one.ours == ACTORS) == (path == "actor")]
            if chosen or effort.grid:
                _run_path(generator, results, effort, path=path, wanted=chosen, tell=tell)
    results.parts.append("quotes")


def _run_path(
    generator: Generator,
    results: Results,
    effort: Effort,
    *,
    path: str,
    wanted: Sequence[Wanted],
    tell: Tell,
) -> None:
    # One system after the other: two at once would share the cores that are measured.
    with ExitStack() as stack:
        tell(f"our system comes up, QUOTE_PATH={path}")
        ours = stack.enter_context(system.running(tokens=TOKENS, QUOTE_PATH=path))
        tell("the peers come up")
        field = {one.name: one for one in contestants(stack, ours)}
        measured = list(field.values())
        if path == "actor":
            field[ACTORS] = replace(field["stream"], name=ACTORS)
            measured = [field[ACTORS]]
        course = Course(generator, ours.tokens, results, seconds=effort.seconds, tell=tell)
        for shape in (BUSY, ALONE):
            chosen = [one for one in wanted if one.shape == shape]
            _alternate(course, field, chosen, turns=effort.alternations)
        if effort.grid:
            for contestant in measured:
                _grid(course, contestant)


@contextmanager
def markets_file(markets: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the peers read."""
    with tempfile.TemporaryDirectory(prefix="risecurve-bench-") as folder:
        file = Path(folder) / "markets.json"
        file.write_text(json.dumps(markets))
        yield str(file)


def contestants(stack: ExitStack, ours: system.Ours) -> list[Contestant]:
    """Everybody, started; they end with the stack."""
    file = stack.enter_context(markets_file(ours.markets))

    def node(name: str, script: str, *more: str) -> Peer:
        return stack.enter_context(started(name, "node", f"bench/peers/{script}.mjs", file, *more))

    in_memory = node("node", "express_socketio")
    on_redis = node("node on Redis", "express_socketio", ours.run.redis_url)
    plain = stack.enter_context(
        started("python-socketio", *python("bench.peers.plain_socketio"), file)
    )
    door = stack.enter_context(
        started("our door alone", *python("bench.peers.socketio_door"), file)
    )
    anvil = Peer("anvil", ours.node_port, ())
    return [
        Contestant("stream", ours.stream, "stream"),
        Contestant("socketio", ours.api, "socketio"),
        Contestant("rest", ours.api, "rest"),
        Contestant("node_socketio", in_memory, "socketio"),
        Contestant("express", in_memory, "rest"),
        Contestant("node_ws", node("ws", "ws"), "stream"),
        Contestant("node_redis_socketio", on_redis, "socketio"),
        Contestant("node_redis_ws", node("ws on Redis", "ws", ours.run.redis_url), "stream"),
        Contestant("python_socketio", plain, "socketio"),
        Contestant("socketio_door", door, "socketio"),
        Contestant("eth_call", anvil, "eth_call", {"launchpad": ours.launchpad}),
    ]


class Course:
    """Measures one contestant at one shape, and keeps the run."""

    def __init__(
        self,
        generator: Generator,
        tokens: Sequence[str],
        results: Results,
        *,
        seconds: float,
        tell: Tell,
    ) -> None:
        self._generator = generator
        self._tokens = tuple(tokens)
        self._results = results
        self._seconds = seconds
        self.tell = tell
        self._seed = 0

    def measure(self, one: Contestant, shape: tuple[int, int]) -> dict[str, Any]:
        """One run. Raises BenchError when nothing, or something wrong, came back."""
        self._seed += 1
        clients, window = shape
        plan = Plan(
            wire=one.wire,
            port=one.peer.port,
            clients=clients,
            window=window,
            seconds=self._seconds,
            tokens=self._tokens,
            seed=self._seed,
            contract=one.contract or {},
        )
        cpu_s = one.peer.cpu_s()
        found = self._generator.run(plan)
        cpu_s = one.peer.cpu_s() - cpu_s
        answers = found["answers"]
        if not answers or found["errors"] or found["lost"]:
            wrong = f"{found['errors']}, {found['lost']} lost"
            raise BenchError(f"{one.name} at {shape}: Expected quotes only, was {wrong}")
        whole_s = plan.seconds + plan.warm_s
        run = {
            "contestant": one.name,
            "clients": clients,
            "window": window,
            # Of all its processes, the warming up and its answers too.
            "cpuUsPerQuote": cpu_s / (answers * whole_s / plan.seconds) * 1e6,
            "load": os.getloadavg()[0],
            **found,
        }
        self._results.runs.append(run)
        return run

    def keep(self, wanted: Wanted, found: Ratio) -> None:
        """One ratio."""
        self._results.ratios[wanted.name] = found

    def summarise(self, name: str, runs: Sequence[dict[str, Any]], *, prefix: str = "") -> None:
        """The medians of runs at one shape as figures; what was measured once says so."""
        shape = f"{runs[0]['clients']}x{runs[0]['window']}"
        found = {
            f"{name}_quotes_per_s_{shape}": median(run["rate_per_s"] for run in runs),
            f"{name}_p50_us_{shape}": median(run["latency"]["p50_us"] for run in runs),
            f"{name}_p99_us_{shape}": median(run["latency"]["p99_us"] for run in runs),
        }
        if runs[0]["cpuUsPerQuote"]:
            found[f"{name}_cpu_us_per_quote_{shape}"] = median(r["cpuUsPerQuote"] for r in runs)
        self._results.figures |= {prefix + key: value for key, value in found.items()}


def _alternate(
    course: Course, field: dict[str, Contestant], wanted: Sequence[Wanted], *, turns: int
) -> None:
    if not wanted:
        return
    names = [one for each in wanted for one in (each.ours, each.theirs)]
    order = list(dict.fromkeys(names))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in order}
    for turn in range(turns):
        shift = turn % len(order)
        for name in order[shift:] + order[:shift]:
            course.tell(f"alternation {turn + 1} of {turns}: {name}")
            runs[name].append(course.measure(field[name], wanted[0].shape))
    for one in wanted:
        pair = [runs[name] for name in (one.ours, one.theirs)]
        ours, theirs = ([_figure(run, one) for run in each] for each in pair)
        course.keep(one, ratio(ours, theirs))
    for name, found in runs.items():
        # A peer is measured again beside the actors; its figures are those of the first time.
        if name == ACTORS or ACTORS not in runs:
            course.summarise(name, found)


def _figure(run: dict[str, Any], wanted: Wanted) -> float:
    return float(run["latency"]["p50_us"] if wanted.latency else run["rate_per_s"])


def _grid(course: Course, one: Contestant) -> None:
    for shape in GRID:
        clients, window = shape
        if one.wire in ("rest", "eth_call") and clients * window > CONNECTIONS_MAX:
            continue
        course.tell(f"{one.name}: {clients} clients, window {window}")
        course.summarise(one.name, [course.measure(one, shape)], prefix="once_")


def _ceiling(generator: Generator, results: Results, effort: Effort, *, tell: Tell) -> None:
    tell("the load generator against an echo")
    with started("echo", *python("bench.peers.echo")) as echo:
        one = Contestant("echo", echo, "stream")
        course = Course(generator, ["0x" + "11" * 20], results, seconds=effort.seconds, tell=tell)
        for shape in (BUSY, ALONE):
            course.summarise("loadgen_ceiling", [course.measure(one, shape) for _ in range(3)])
