"""What a shard's groups stand at over one block: for whoever checks them, or builds upon them.

All raise ConsistencyError("outside_window") for a block that is not in every group's window.
"""

from collections.abc import Sequence

from engine import snapshot
from engine.control import MarketHashes, MarketStates, StateHashes, StatesAt, StatesOf
from engine.errors import ConsistencyError
from engine.group import Group
from engine.snapshot import state_row


def states_at(groups: Sequence[Group], message: StatesAt) -> MarketStates:
    """Every market that was there, and which are halted now."""
    _expect_window(groups, message.block)
    states = []
    halted: dict[bytes, str] = {}
    for group in groups:
        halted |= group.halted
        for timeline in group.timelines.values():
            market = timeline.state_at(message.block)
            if market is not None:
                states.append(state_row(market))
    return MarketStates(message.block, tuple(states), tuple(halted.items()))


def states_of(groups: Sequence[Group], message: StatesOf) -> MarketStates:
    """The markets asked for, and some that changed lately; none that is halted."""
    block = message.block
    _expect_window(groups, block)
    states = []
    for group in groups:
        changed = group.changed_in_window(message.changed)
        wanted = [token for token in message.tokens if token in group.timelines]
        for token in dict.fromkeys([*wanted, *changed]):
            timeline = group.timelines[token]
            market = timeline.state_at(block)
            if market is not None and timeline.halted is None:
                states.append(state_row(market))
    return MarketStates(block, tuple(states), block_hash=_hash_at(groups, block))


def state_hashes(groups: Sequence[Group], message: StateHashes) -> MarketHashes:
    """The hash of each market that was there."""
    block = message.block
    _expect_window(groups, block)
    found = [
        (token, snapshot.hash_of(market))
        for group in groups
        for token, timeline in group.timelines.items()
        if (market := timeline.state_at(block)) is not None
    ]
    return MarketHashes(block, tuple(found), _hash_at(groups, block))


def _expect_window(groups: Sequence[Group], block: int) -> None:
    for group in groups:
        if not group.base <= block <= group.position.number:
            text = f"Expected a block in {group.base}..{group.position.number}"
            raise ConsistencyError("outside_window", f"{text}, was {block}")


def _hash_at(groups: Sequence[Group], block: int) -> bytes:
    hashes = {group.hashes.get(block, b"") for group in groups}
    return hashes.pop() if len(hashes) == 1 else b""
