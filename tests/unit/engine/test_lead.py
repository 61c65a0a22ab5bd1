"""A clock that is ahead shows by stamps that come before their time."""

from engine.lead import Lead


def test_lead_is_the_most_that_was_seen_and_never_negative():
    lead = Lead()
    found = [lead.noted(ahead_s, 1.0) for ahead_s in (-0.3, 0.0, 0.2, -0.1, 0.1)]
    assert found == [0.0, 0.0, 0.2, 0.2, 0.2]


def test_lead_of_a_clock_that_was_set_is_forgotten_after_one_to_two_windows():
    lead = Lead(window_s=10.0)
    lead.noted(5.0, 0.0)
    assert [lead.noted(-0.1, at_s) for at_s in (9.0, 11.0, 20.0)] == [5.0, 5.0, 5.0]
    assert [lead.noted(-0.1, at_s) for at_s in (22.0, 30.0)] == [0.0, 0.0]
