"""The window: four verdicts, a bounded length, positions told apart; numbering of events."""

import itertools
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from engine.chain_view import (
    AHEAD,
    BELOW,
    FOREIGN,
    INSIDE,
    ChainView,
    Duplicate,
    EventSeqs,
    Extended,
    Gap,
    Reorged,
)
from engine.messages import Block, BlockHeader, FeedPosition
from tests.support.scenario import Scenario


def header(number: int, fork: str = "", parent_fork: str | None = None) -> BlockHeader:
    def digest(n: int, salt: str) -> bytes:
        return sha256(f"{n}{salt}".encode()).digest()

    parent = digest(number - 1, fork if parent_fork is None else parent_fork)
    return BlockHeader(1, number, digest(number, fork), parent, number)


def view(tip: int, depth: int = 10, anchor: int = 0) -> ChainView:
    made = ChainView(header(anchor), depth)
    for number in range(anchor + 1, tip + 1):
        assert isinstance(made.extend(Block(header(number), ())), Extended)
    return made


def position(number: int, fork: str = "") -> FeedPosition:
    return FeedPosition(number, header(number, fork).hash)


def test_extend_child_of_tip_becomes_tip() -> None:
    window = view(3)
    assert window.extend(Block(header(4), ())) == Extended(header(4))
    assert window.tip == header(4) and window.block(4) == Block(header(4), ())


def test_judge_known_block_is_duplicate_and_changes_nothing() -> None:
    window = view(5)
    assert all(isinstance(window.judge(header(n)), Duplicate) for n in range(6))
    assert isinstance(window.extend(Block(header(2), ())), Duplicate)
    assert window.tip == header(5)


def test_judge_far_block_is_a_gap_with_what_is_missing() -> None:
    assert view(5).judge(header(9)) == Gap(header(9), 6, 8)


def test_judge_other_hash_at_a_held_number_is_a_reorg_with_its_ancestor() -> None:
    other = header(4, "b", parent_fork="")
    assert view(5).judge(other) == Reorged(other, position(3))


def test_judge_child_of_another_tip_is_a_reorg_to_walk_back() -> None:
    assert view(5).judge(header(6, "b")) == Reorged(header(6, "b"), None)
    assert view(5).judge(header(5, "b")) == Reorged(header(5, "b"), None)


def test_judge_below_the_base_is_a_reorg_without_ancestor() -> None:
    window = view(30)
    assert window.base == 20
    assert window.judge(header(12)) == Reorged(header(12), None)


def test_extend_many_keeps_the_window_bounded() -> None:
    window = view(100, depth=7)
    assert (window.base, len(window)) == (93, 8)
    assert window.block(92) is None and window.block(93) is not None


def test_after_gives_following_blocks_up_to_the_limit() -> None:
    window = view(30)
    assert [b.header.number for b in window.after(20, 3)] == [21, 22, 23]
    assert [b.header.number for b in window.after(29, 3)] == [30]
    assert window.after(30, 3) == ()


def test_standing_tells_the_four_places_apart() -> None:
    window = view(30)
    assert window.standing(position(31)) == AHEAD
    assert window.standing(position(30)) == INSIDE
    assert window.standing(position(20)) == INSIDE
    assert window.standing(position(25, "b")) == FOREIGN
    assert window.standing(position(19)) == BELOW
    assert window.standing(FeedPosition(-1, bytes(32))) == BELOW


def test_finalise_moves_up_only_and_never_above_the_tip() -> None:
    window = view(30)
    assert window.finalised == -1
    assert window.finalise(5) and window.finalised == 5
    assert not window.finalise(4) and window.finalised == 5
    assert window.finalise(99) and window.finalised == 30


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", "b"])), max_size=120))
def test_extend_any_headers_keeps_a_linked_bounded_window(steps: list[tuple[int, str]]) -> None:
    window = ChainView(header(0), 5)
    for number, fork in steps:
        window.extend(Block(header(number, fork), ()))
        blocks = [window.block(n) for n in range(window.base, window.tip.number + 1)]
        assert len(blocks) == len(window) <= 6
        headers = [block.header for block in blocks if block is not None]
        assert len(headers) == len(blocks)
        assert all(b.parent_hash == a.hash for a, b in itertools.pairwise(headers))


def test_event_seqs_gap_repeat_and_first_are_told_apart() -> None:
    scenario = Scenario()
    token = scenario.launch("one")
    for _ in range(3):
        scenario.buy(token, 10**15)
    events = scenario.seal().events
    seqs = EventSeqs()
    assert seqs.fault(events) is None
    seqs.note(events)
    scenario.buy(token, 10**15)
    scenario.buy(token, 10**15)
    following = scenario.seal().events
    assert seqs.fault(following) is None
    launchpad_events = [e for e in following if hasattr(e, "event_seq")]
    assert "was" in str(seqs.fault(launchpad_events[1:]))
    assert "was" in str(seqs.fault([launchpad_events[0], launchpad_events[0]]))
    assert seqs.fault(()) is None
