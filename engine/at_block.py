"""What groups say of one block of their windows: states, and hashes of states.

Raises ConsistencyError("outside_window") when the block is not in every group's window.
"""

from collections.abc import Sequence

from engine import snapshot
from engine.control import MarketHashes, MarketStates, StateHashes, StatesAt, StatesOf
from engine.errors import ConsistencyError
from engine.group import Group
from engine.snapshot import state_row


def states_at(groups: Sequence[Group], message: StatesAt) -> MarketStates:
    """Of all markets."""
    states = []
    halted: dict[bytes, str] = {}
    for group in _standing_over(groups, message.block):
        halted |= group.halted
        for timeline in group.timelines.values():
            market = timeline.state_at(message.block)
            if market is not None:
                states.append(state_row(market))
    return MarketStates(message.block, tuple(states), tuple(halted.items()))


def states_of(groups: Sequence[Group], message: StatesOf) -> MarketStates:
    """Of the markets asked for, and of some that changed."""
    states, block = [], message.block
    for group in _standing_over(groups, block):
        changed = group.changed_in_window(message.changed)
        wanted = [token for token in message.tokens if token in group.timelines]
        for token in dict.fromkeys([*wanted, *changed]):
            timeline = group.timelines[token]
            market = timeline.state_at(block)
            if market is not None and timeline.halted is None:
                states.append(state_row(market))
    return MarketStates(block, tuple(states), block_hash=_hash_at(groups, block))


def state_hashes(groups: Sequence[Group], message: StateHashes) -> MarketHashes:
    """Of all markets."""
    block = message.block
    found = [
        (token, snapshot.hash_of(market))
        for group in _standing_over(groups, block)
        for token, timeline in group.timelines.items()
        if (market := timeline.state_at(block)) is not None
    ]
    return MarketHashes(block, tuple(found), _hash_at(groups, block))


def _standing_over(groups: Sequence[Group], block: int) -> Sequence[Group]:
    for group in groups:
        if not group.base <= block <= group.position.number:
            text = f"Expected a block in {group.base}..{group.position.number}"
            raise ConsistencyError("outside_window", f"{text}, was {block}")
    return groups


def _hash_at(groups: Sequence[Group], block: int) -> bytes:
    hashes = {group.hashes.get(block, b"") for group in groups}
    return hashes.pop() if len(hashes) == 1 else b""
