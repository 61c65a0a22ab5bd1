"""A deployment is judged by the thresholds of a file, and by nothing that is not in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import remote
from bench.processes import BenchError

EXAMPLE = Path(remote.__file__).with_name("thresholds.example.json")
FOUND: dict[str, Any] = {
    "answers": 9_990,
    "errors": {"rate_limited": 10},
    "lost": 0,
    "skipped": 0,
    "rate_per_s": 999.0,
    "latency": {
        "p50_us": 400.0,
        "p90_us": 500.0,
        "p99_us": 900.0,
        "p999_us": 950.0,
        "max_us": 1_000.0,
        "mean_us": 420.0,
    },
}


def test_thresholds_that_are_kept_say_nothing() -> None:
    kept = {"most_p99_us": 900, "least_rate_per_s": 999, "most_error_percent": 0.1, "most_lost": 0}
    assert remote.judged(FOUND, kept) == []


def test_thresholds_that_are_not_kept_are_named() -> None:
    missed = {"most_p99_us": 899, "least_rate_per_s": 1_000, "most_error_percent": 0.09}
    assert remote.judged(FOUND, missed) == [
        "p99_us: Expected at most 899, was 900",
        "rate_per_s: Expected at least 1000, was 999",
        "error_percent: Expected at most 0.09, was 0.1",
    ]


def test_nothing_answered_is_all_errors() -> None:
    nothing = FOUND | {"answers": 0, "errors": {}}
    assert remote.judged(nothing, {"most_error_percent": 1}) != []


def test_unknown_threshold_is_an_error_and_the_example_has_none() -> None:
    with pytest.raises(BenchError, match="most_p98_us"):
        remote.judged(FOUND, {"most_p98_us": 1})
    remote.judged(FOUND, json.loads(EXAMPLE.read_text()))


def plan(*words: str) -> Any:
    given = remote.parser().parse_args(["--tokens", "0x1,0x2", *words])
    return remote.plan_of(given, remote._tokens(given))


def test_url_chooses_the_door() -> None:
    assert plan("--url", "ws://h:3001/v1").wire == "stream"
    assert plan("--url", "socketio://h:3000").wire == "socketio"
    made = plan("--url", "http://h:3000", "--rate", "10", "--mix", "buy=1", "--api-key", "k")
    assert (made.wire, made.host, made.port, made.rate) == ("rest", "h", 3000, 10.0)
    assert (made.tokens, made.mix, made.headers) == (
        ("0x1", "0x2"),
        {"buy": 1.0},
        {"X-API-Key": "k"},
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--url", "ftp://h:1"),
        ("--url", "ws://h"),
        ("--url", "ws://h:1", "--mix", "hold=1"),
        ("--url", "ws://h:1", "--mix", "buy=x"),
        ("--url", "ws://h:1", "--mix", "buy=0"),
    ],
)
def test_plan_of_nonsense_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(BenchError, match="Expected"):
        plan(*words)
