"""Which system is brought up for which ratio."""

import contextlib

import pytest

from bench import quotes
from bench.results import Results


@pytest.fixture
def paths(monkeypatch):
    """(path, names of its ratios) of each system that would be brought up."""
    found = []

    def run_path(*_, path, wanted, **__):
        found.append((path, [one.name for one in wanted]))

    monkeypatch.setattr(quotes, "Generator", contextlib.nullcontext)
    monkeypatch.setattr(quotes, "_ceiling", lambda *_, **__: None)
    monkeypatch.setattr(quotes, "_run_path", run_path)
    return found


def run(**effort):
    quotes.run(Results(), quotes.Effort(**effort), print)


def test_actors_are_measured_on_a_system_without_replicas(paths):
    run(grid=False)
    assert [path for path, _ in paths] == ["replica", "actor"]
    assert paths[1] == ("actor", ["stream_actors_vs_node_socketio"])
    assert sorted(paths[0][1] + paths[1][1]) == sorted(one.name for one in quotes.RATIOS)


def test_system_that_no_ratio_needs_is_not_brought_up(paths):
    run(grid=False, only=frozenset({"stream_vs_node_ws"}))
    run(grid=False, only=frozenset({"stream_actors_vs_node_socketio"}))
    assert paths == [
        ("replica", ["stream_vs_node_ws"]),
        ("actor", ["stream_actors_vs_node_socketio"]),
    ]


def test_grid_is_of_both(paths):
    run(grid=True, only=frozenset({"stream_vs_node_ws"}))
    assert [path for path, _ in paths] == ["replica", "actor"]
