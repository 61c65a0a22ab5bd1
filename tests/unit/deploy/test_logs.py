"""Logs: one JSON object a line, ids bound, secrets out, files bounded."""

import json
import logging
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import logfiles, logs
from engine.settings import LogSettings

KEY = "4f3edf983ac636a65a842ce7c78d9aa706d3b113bce9c46f30d7d21715b23b1d"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIweDEifQ.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(logs, "_hidden", set())
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_line_carries_ids_level_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogSettings())
    with logs.bound(request_id="r1", correlation_id="c1"):
        logs.get("gateway").info("request_done", amount_wei=2**200)
    logs.get("gateway").debug("not_shown")
    (line,) = written(capsys)
    assert line["event"] == "request_done"
    assert (line["request_id"], line["correlation_id"]) == ("r1", "c1")
    assert (line["level"], line["logger"]) == ("info", "gateway")
    assert line["amount_wei"] == 2**200
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets_never_reach_the_text(capsys: pytest.CaptureFixture[str], style: str) -> None:
    logs.configure(LogSettings(format=style))
    logs.hide("correct-horse-battery")
    log = logs.get("x")
    log.info(
        "start",
        private_key=KEY,
        headers={"Authorization": f"Bearer {TOKEN}", "nested": [{"jwt_secret": KEY}]},
        url="postgresql://app:hunter22@db/x",
        text=f"sent bearer {TOKEN} to https://sepolia.infura.io/v3/0123456789abcdef0123",
        said="correct-horse-battery",
        token="0x" + "11" * 20,
    )
    try:
        raise ValueError("cannot reach redis://:hunter22@cache:6379")
    except ValueError:
        log.exception("failed")
    logging.getLogger("library").error("using %s", "mongodb://u:hunter22@m/x")
    text = capsys.readouterr().err
    for secret in (KEY, TOKEN, "hunter22", "0123456789abcdef0123", "correct-horse"):
        assert secret not in text
    assert "0x" + "11" * 20 in text
    assert "cannot reach redis://" in text


def test_directory_gets_combined_and_error_files(tmp_path: Path) -> None:
    logs.configure(LogSettings(directory=str(tmp_path / "logs")))
    logs.get("x").info("fine")
    logs.get("x").error("broken")
    combined = (tmp_path / "logs" / "combined.log").read_text().splitlines()
    errors = (tmp_path / "logs" / "error.log").read_text().splitlines()
    assert [json.loads(line)["event"] for line in combined] == ["fine", "broken"]
    assert [json.loads(line)["event"] for line in errors] == ["broken"]


def _write_many(path: Path, mark: str) -> None:
    handler = logfiles.SharedRotatingFile(path, bytes_max=20_000, keep=50)
    for number in range(500):
        handler.emit(logging.LogRecord(mark, 20, "", 0, f"{mark} {number}", None, None))
    handler.close()


def test_shared_file_three_processes_lose_no_line_and_stay_bounded(tmp_path: Path) -> None:
    path = tmp_path / "combined.log"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, mark * 40)) for mark in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    files = [one for one in tmp_path.iterdir() if one.suffix != ".lock"]
    lines = [line for one in files for line in one.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{m * 40} {n}" for m in "abc" for n in range(500))
    assert len(files) > 1
    assert max(one.stat().st_size for one in files) < 20_000 + 3 * 60


def test_shared_file_keeps_only_so_many(tmp_path: Path) -> None:
    handler = logfiles.SharedRotatingFile(tmp_path / "x.log", bytes_max=100, keep=2)
    for number in range(100):
        handler.emit(logging.LogRecord("x", 20, "", 0, f"line number {number}", None, None))
    handler.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "x.lock",
        "x.log",
        "x.log.1",
        "x.log.2",
    ]
