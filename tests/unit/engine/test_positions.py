"""Positions after blocks: the basis around each trade, sums, balances, who holds something."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.basis import NO_BASIS, Basis
from engine.history import rows_of
from engine.positions import (
    NOTHING,
    ZERO_ADDRESS,
    Change,
    Held,
    Recorded,
    places_of,
    settled,
    unrecorded,
)
from engine.rows import TransferRow
from tests.support.scenario import LAUNCHPAD, Scenario, address_of

ETH = 10**18
VENUES = frozenset({LAUNCHPAD})
NAMES = ("alice", "bob", "carol")


def trades_of(*trades):
    """One block in which (trader, side, wei, tokens) happened in this order."""
    scenario = Scenario()
    token = scenario.launch("a")
    for name, *_ in trades:
        scenario.buy(token, ETH // 100, name)
    rows = rows_of(scenario.seal(), {}, {}, venues=VENUES)
    created, *rest = rows.transactions
    made = [
        replace(row, type=side, eth_amount=eth, token_amount=tokens)
        for row, (_, side, eth, tokens) in zip(rest, trades, strict=True)
    ]
    return token, replace(rows, transactions=(created, *made), transfers=())


def moved(block, token, *moves):
    """The block with transfers of (sender, recipient, amount) instead of its own."""
    at = block.transactions[0].at
    rows = [TransferRow(at, token, *move) for move in moves]
    return replace(block, transfers=tuple(rows))


def test_bases_follow_the_trades_of_a_block_in_their_order():
    token, block = trades_of(
        ("alice", "BUY", 10, 100),
        ("bob", "SELL", 7, 5),
        ("alice", "SELL", 9, 50),
        ("alice", "BUY", 4, 1),
    )
    alice, bob = (1, token, address_of("alice")), (1, token, address_of("bob"))
    assert places_of([block]) == {alice, bob}
    [done], changes = settled([block], {bob: Held(7, Basis(10, 3))})
    assert done.transactions[0] == block.transactions[0]
    assert [(row.before, row.after) for row in done.transactions[1:]] == [
        (NO_BASIS, Basis(100, 10)),
        (Basis(10, 3), Basis(5, 2)),
        (Basis(100, 10), Basis(50, 5)),
        (Basis(50, 5), Basis(51, 9)),
    ]
    number, time = block.header.number, block.header.timestamp
    assert changes == [
        Change(alice, 0, 0, Basis(51, 9), True, 3, 101, 50, 14, 9, number, time),
        Change(bob, 7, 7, Basis(5, 2), False, 1, 0, 5, 0, 7, number, None),
    ]


def test_first_buy_is_the_time_of_the_first_of_several():
    _, block = trades_of(("alice", "BUY", 10, 100), ("alice", "BUY", 1, 10))
    later = [replace(row, at=replace(row.at, block_time=2**40)) for row in block.transactions]
    _, [change] = settled([block, replace(block, transactions=tuple(later))], {})
    assert (change.trades, change.first_buy) == (4, block.header.timestamp)


def test_work_is_recorded_with_its_event_or_not_at_all():
    _, block = trades_of(("alice", "BUY", 10, 100))
    first, *others = block.outbox
    event = next(one for one in block.events if (one.at.tx_hash, one.at.position) == first.of)
    known = Recorded(events={(event.at.tx_hash, event.at.position)})
    [left] = unrecorded([block], known)
    assert left.outbox == tuple(others) and event not in left.events


def test_bases_go_on_from_block_to_block():
    _, block = trades_of(("alice", "BUY", 10, 100), ("alice", "SELL", 9, 50))
    (_, second), [change] = settled([block, block], {})
    assert [row.before for row in second.transactions[1:]] == [Basis(50, 5), Basis(150, 15)]
    assert (change.trades, change.bought_tokens, change.received_wei) == (4, 200, 18)


def test_recorded_rows_are_left_out_and_count_once():
    token, block = trades_of(("alice", "BUY", 10, 100), ("alice", "SELL", 9, 50))
    alice = (1, token, address_of("alice"))
    block = moved(block, token, (ZERO_ADDRESS, alice[2], 5))
    keys = {(row.at.tx_hash, row.at.position) for row in block.transactions}
    bought = block.transactions[1].at
    seen = Recorded(transactions={(bought.tx_hash, bought.position)})
    [rest] = unrecorded([block], seen)
    assert [row.type for row in rest.transactions] == ["CREATE", "SELL"]
    assert (rest.events, rest.transfers) == (block.events, block.transfers)
    [done], _ = settled([rest], {alice: Held(100, Basis(100, 10))})
    assert done.transactions[1].after == Basis(50, 5)
    events = {(event.at.tx_hash, event.at.position) for event in block.events}
    transfers = {(row.at.tx_hash, row.at.position) for row in block.transfers}
    [none] = unrecorded([block], Recorded(events, keys, transfers))
    assert none.transactions == none.events == none.transfers == ()
    assert settled([none], {}) == ([none], [])


def test_holders_join_with_their_first_token_and_go_with_their_last():
    token, block = trades_of(("alice", "BUY", 1, 1))
    alice, bob, carol = (address_of(name) for name in NAMES)
    held = {(1, token, bob): Held(5, NO_BASIS), (1, token, carol): Held(5, NO_BASIS)}
    block = moved(block, token, (bob, alice, 5), (carol, alice, 4), (alice, ZERO_ADDRESS, 2))
    _, changes = settled([block], held)
    assert {one.place[2]: (one.balance_before, one.balance, one.joined) for one in changes} == {
        alice: (0, 7, 1),
        bob: (5, 0, -1),
        carol: (5, 1, 0),
    }
    assert places_of([block]) == {(1, token, who) for who in (alice, bob, carol)}


people = st.sampled_from([ZERO_ADDRESS, *(address_of(name) for name in NAMES)])


@given(st.lists(st.tuples(people, people, st.integers(0, 9)), max_size=20), st.data())
def test_settled_in_parts_is_settled_at_once_and_no_token_is_lost(moves, data):
    token, block = trades_of(("alice", "BUY", 10, 100))
    cut = data.draw(st.integers(0, len(moves)))
    parts = [moved(block, token, *moves[:cut]), moved(block, token, *moves[cut:])]
    _, at_once = settled(parts, {})
    held = {}
    for part in parts:
        _, changes = settled([part], held)
        held |= {one.place: Held(one.balance, one.basis) for one in changes}
    assert {one.place: Held(one.balance, one.basis) for one in at_once} == held
    minted = sum(
        amount * ((sender == ZERO_ADDRESS) - (recipient == ZERO_ADDRESS))
        for sender, recipient, amount in moves
    )
    assert sum(one.balance for one in held.values()) == minted
    assert Held(0, NO_BASIS) == NOTHING
