"""The gate opens only for a tag that moves."""

from engine.bridge.finality import FinalityGate

GATE = FinalityGate(1, patience_s=100.0)


def test_gate_without_a_tag_is_closed():
    assert "was none" in GATE.closed_because(0.0)


def test_gate_with_a_tag_that_never_moved_is_closed():
    found = GATE.noted(0, 1.0).noted(0, 50.0)
    assert "still at 0" in found.closed_because(60.0)


def test_gate_opens_when_the_tag_moves_and_closes_when_it_stands():
    found = GATE.noted(5, 1.0).noted(6, 2.0)
    assert found.closed_because(102.0) == ""
    assert "within 100 s" in found.closed_because(103.0)
    assert found.noted(7, 103.0).closed_because(103.0) == ""


def test_gate_a_lagging_node_changes_nothing():
    found = GATE.noted(5, 1.0).noted(6, 2.0)
    assert found.noted(4, 150.0) == found
