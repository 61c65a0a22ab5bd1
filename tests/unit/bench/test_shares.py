"""Who took how much of the processor: by role, by name, and what is nobody's of the bench."""

import os

from bench.shares import STRANGERS, Moment, moment, shares


def test_shares_are_of_one_core_by_role_and_name_and_the_rest_is_strangers() -> None:
    before = Moment(10.0, 100.0, {1: 5.0, 2: 1.0, 3: 0.0})
    after = Moment(20.0, 112.0, {1: 9.0, 2: 2.0, 3: 1.0, 4: 0.5})
    found = shares(before, after, {1: "shard", 2: "shard", 4: "listener"}, named={3: "readers"})
    assert found == {"shard": 50.0, STRANGERS: 55.0, "readers": 10.0, "listener": 5.0}
    assert list(found) == [STRANGERS, "shard", "readers", "listener"]


def test_what_counts_coarsely_never_makes_strangers_negative() -> None:
    before, after = Moment(0.0, 0.0, {1: 0.0}), Moment(1.0, 0.5, {1: 0.6})
    assert shares(before, after, {1: "shard"}, named={})[STRANGERS] == 0.0


def test_moment_has_this_process_and_leaves_out_one_that_is_gone() -> None:
    found = moment((os.getpid(), 2**22 - 1))
    assert found.cpu_s[os.getpid()] > 0 and found.machine_s > found.cpu_s[os.getpid()]
    assert 2**22 - 1 not in found.cpu_s
