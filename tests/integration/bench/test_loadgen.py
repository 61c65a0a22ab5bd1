"""The load generator against peers that run: everything it sends comes back, and is counted."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from bench.loadgen import Plan
from bench.processes import ROOT, BenchError, Generator, Peer, python, started
from bench.quotes import Contestant, Course, Wanted, _alternate, markets_file
from bench.results import Results
from tests.integration.bench.test_peers import market

NODE = shutil.which("node") or "node"


@pytest.fixture(scope="module")
def markets() -> list[dict[str, object]]:
    dice = Random(3)
    found: list[dict[str, object]] = []
    while len(found) < 4:
        one = market(dice)
        if 10**24 < int(one["sold"]) < 700_000_000 * 10**18:
            found.append(one)
    return found


@pytest.fixture(scope="module")
def peers(markets: list[dict[str, object]]) -> Iterator[dict[str, tuple[Peer, str]]]:
    with ExitStack() as stack:
        file = stack.enter_context(markets_file(markets))
        node = stack.enter_context(started("node", NODE, "bench/peers/express_socketio.mjs", file))
        ws = stack.enter_context(started("ws", NODE, "bench/peers/ws.mjs", file))
        plain = stack.enter_context(started("p", *python("bench.peers.plain_socketio"), file))
        door = stack.enter_context(started("d", *python("bench.peers.socketio_door"), file))
        echo = stack.enter_context(started("echo", *python("bench.peers.echo")))
        yield {
            "node_socketio": (node, "socketio"),
            "express": (node, "rest"),
            "node_ws": (ws, "stream"),
            "python_socketio": (plain, "socketio"),
            "socketio_door": (door, "socketio"),
            "echo": (echo, "stream"),
        }


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with Generator() as made:
        yield made


NAMES = ("node_socketio", "express", "node_ws", "python_socketio", "socketio_door", "echo")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_every_peer_answers_with_quotes(
    name: str,
    rate: float,
    peers: dict[str, tuple[Peer, str]],
    generator: Generator,
    markets: list[dict[str, object]],
) -> None:
    peer, wire = peers[name]
    tokens = tuple(str(one["token"]) for one in markets)
    plan = Plan(
        wire=wire, port=peer.port, clients=4, window=3, rate=rate, seconds=0.3, tokens=tokens
    )
    found = generator.run(plan)
    assert found["answers"] > 0 and (found["errors"], found["lost"]) == ({}, 0)
    assert sum(count for _, count in found["histogram"]) == found["answers"]
    assert 0 < found["latency"]["p50_us"] <= found["latency"]["max_us"]
    if rate:
        assert found["rate_per_s"] < 2 * rate


def test_refusals_are_errors_by_code(
    peers: dict[str, tuple[Peer, str]], generator: Generator
) -> None:
    for name in ("node_socketio", "express", "node_ws"):
        peer, wire = peers[name]
        plan = Plan(wire=wire, port=peer.port, seconds=0.2, tokens=("0x" + "11" * 20,))
        found = generator.run(plan)
        assert found["answers"] == 0 and set(found["errors"]) == {"token_not_found"}


def test_nobody_there_is_a_sentence(generator: Generator) -> None:
    with pytest.raises(BenchError, match="stream with 1 clients"):
        generator.run(Plan(wire="stream", port=1, tokens=("0x" + "11" * 20,)))


def test_open_loop_charges_a_door_that_stands_still_for_all_who_waited(
    generator: Generator, peers: dict[str, tuple[Peer, str]], markets: list[dict[str, object]]
) -> None:
    peer, wire = peers["node_ws"]
    tokens = (str(markets[0]["token"]),)
    plan = Plan(wire=wire, port=peer.port, clients=2, rate=500, seconds=4.0, tokens=tokens)
    stop = subprocess.Popen(
        [sys.executable, "-c", _STOP, str(peer.pids[0])], stdout=subprocess.DEVNULL
    )
    found = generator.run(plan)
    stop.wait()
    # Stopped for 0.5 s of the 4 s, whenever that came: in a closed loop two of some thousand
    # would have waited.
    waited = sum(count for edge, count in found["histogram"] if edge > 50_000)
    assert waited > 100


_STOP = """
import os, signal, sys, time
time.sleep(0.7)
os.kill(int(sys.argv[1]), signal.SIGSTOP)
time.sleep(0.5)
os.kill(int(sys.argv[1]), signal.SIGCONT)
"""


def test_alternations_make_a_ratio(
    generator: Generator, peers: dict[str, tuple[Peer, str]], markets: list[dict[str, object]]
) -> None:
    tokens = [str(one["token"]) for one in markets]
    results = Results()
    course = Course(generator, tokens, results, seconds=0.1, tell=lambda text: None)
    field = {name: Contestant(name, *peers[name]) for name in ("echo", "python_socketio")}
    wanted = Wanted("echo_vs_plain", "echo", "python_socketio", shape=(2, 2))
    _alternate(course, field, [wanted], turns=3)
    ratio = results.ratios["echo_vs_plain"]
    assert ratio.alternations == 3 and ratio.low <= ratio.value <= ratio.high
    assert [run["contestant"] for run in results.runs[:4]] == [
        "echo",
        "python_socketio",
        "python_socketio",
        "echo",
    ]
    assert results.figures["echo_quotes_per_s_2x2"] > 0


def test_remote_judges_a_door_that_runs(
    peers: dict[str, tuple[Peer, str]], markets: list[dict[str, object]], tmp_path: Path
) -> None:
    peer, _ = peers["node_ws"]
    words = ["--url", f"ws://127.0.0.1:{peer.port}/v1", "--tokens", str(markets[0]["token"])]
    words += ["--seconds", "0.4", "--clients", "2", "--thresholds"]
    for line, expected in ((1e9, 0), (0.001, 1)):
        file = tmp_path / "thresholds.json"
        file.write_text(json.dumps({"most_p99_us": line}))
        done = subprocess.run(
            [*python("bench.remote"), *words, str(file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        assert json.loads(done.stdout)["pass"] is (expected == 0)


def test_locust_file_is_one() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("locust")), "-f", "bench/locustfile.py", "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Trader" in done.stdout, done.stderr
