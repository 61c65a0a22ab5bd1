"""What `python -m bench --check` and `--keep` say and answer, with a part that measures nothing."""

import json
import os
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import baseline, report, results
from bench.processes import BenchError
from bench.results import Results
from bench.stats import Ratio

NAME = "stream_vs_node_ws"


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of the test's own, and no machine to look at."""
    machine = {"processor": "p", "cores": 2, "node": "n", "python": "3", "loadAfter": 0.0}
    monkeypatch.setattr(results, "machine", machine.copy)
    monkeypatch.setattr(baseline, "FILE", tmp_path / "baseline.json")
    for module, name in ((results, "FOLDER"), (report, "FOLDER")):
        monkeypatch.setattr(module, name, tmp_path)
    for module in (results, report):
        monkeypatch.setattr(module, "LATEST", tmp_path / "latest.json")
    monkeypatch.setattr(report, "PAGE", tmp_path / "latest.html")
    return tmp_path


def measured(monkeypatch: pytest.MonkeyPatch, ratio: Ratio, *words: str) -> int:
    """The exit code of a run whose only ratio is this one."""

    def part(found: Results, *_: object) -> None:
        found.ratios[NAME] = ratio

    monkeypatch.setattr(command, "PARTS", {"part": part})
    return command.main(["part", *words])


def keep(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(monkeypatch, Ratio(2.0, 1.9, 2.1, 12), "--keep") == 0


def test_check_of_a_confirmed_loss_fails_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(monkeypatch)
    assert measured(monkeypatch, Ratio(1.5, 1.4, 1.6, 12), "--check") == 1
    assert f"{NAME}: Expected 2.000, was 1.500 (1.400 to 1.600)" in capsys.readouterr().err


def test_check_of_a_loss_within_the_interval_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch)
    assert measured(monkeypatch, Ratio(1.9, 1.7, 2.05, 12), "--check") == 0


def test_loss_without_check_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(monkeypatch)
    assert measured(monkeypatch, Ratio(1.5, 1.4, 1.6, 12)) == 0


def test_check_without_a_baseline_is_of_the_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(monkeypatch, Ratio(1.1, 1.05, 1.2, 12), "--check") == 0
    assert measured(monkeypatch, Ratio(0.8, 0.7, 0.9, 12), "--check") == 1


def test_check_with_keep_compares_with_what_was_there(
    monkeypatch: pytest.MonkeyPatch, apart: Path
) -> None:
    keep(monkeypatch)
    assert measured(monkeypatch, Ratio(1.5, 1.4, 1.6, 12), "--check", "--keep") == 1
    assert json.loads((apart / "baseline.json").read_text())["ratios"] == {NAME: 1.5}


def test_few_alternations_are_neither_kept_nor_checked_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(monkeypatch)
    assert measured(monkeypatch, Ratio(1.5, 1.4, 1.6, 3), "--check", "--keep") == 0
    said = capsys.readouterr().err
    assert f"Expected 12 alternations to check {NAME}" in said and "kept no ratio" in said
    assert baseline.read() == {NAME: 2.0}


def test_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["speed"]) == 2
    assert "was speed" in capsys.readouterr().err


def test_report_says_how_long_each_part_took(monkeypatch: pytest.MonkeyPatch, apart: Path) -> None:
    measured(monkeypatch, Ratio(1.5, 1.4, 1.6, 12))
    assert json.loads((apart / "latest.json").read_text())["figures"].keys() == {"bench_part_s"}


def test_only_some_ratios_leaves_out_parts_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    parts = {name: lambda *_, name=name: ran.append(name) for name in command.PARTS}
    monkeypatch.setattr(command, "PARTS", parts)
    assert command.main(["--only", NAME]) == 0
    assert ran == ["quotes", "fanout"]
    assert command.main([]) == 0
    assert ran[2:] == list(parts)


def test_part_that_fails_does_not_take_what_was_found_before(
    apart: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def good(found: Results, *_: object) -> None:
        found.figures["good_us"] = 1.0
        found.parts.append("good")

    def bad(*_: object) -> None:
        raise BenchError("Expected a port, was none")

    monkeypatch.setattr(command, "PARTS", {"good": good, "bad": bad, "never": good})
    assert command.main([]) == 1
    assert "Expected a port, was none" in capsys.readouterr().err
    found = json.loads((apart / "latest.json").read_text())
    assert found["figures"]["good_us"] == 1.0 and found["parts"] == ["good"]
    assert any("bad failed" in note for note in found["notes"])


def test_what_a_part_says_to_its_processes_is_not_said_to_those_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[str | None] = []

    def first(*_: object) -> None:
        os.environ["RAY_AUTH_TOKEN_PATH"] = "/of/a/folder/that/is/gone"

    def second(*_: object) -> None:
        heard.append(os.environ.get("RAY_AUTH_TOKEN_PATH"))

    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setattr(command, "PARTS", {"first": first, "second": second})
    assert command.main([]) == 0 and heard == [None]
