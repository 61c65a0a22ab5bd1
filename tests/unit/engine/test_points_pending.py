"""Pending points: transfers between the chains count beside the trades, wherever they stand."""

from itertools import permutations

from engine.points import rules
from engine.points.entries import Deed
from engine.points.pending import Pending, pending
from engine.points.rules import MICRO
from engine.points.state import Known, Person
from tests.support.deeds import START, TOKENS, WALLETS

ETH = 10**18
ANN, BEN = WALLETS[:2]


def deed(number: int, kind: str, *, at: int, wei: int) -> Deed:
    token = TOKENS[0] if kind == "trade" else b""
    return Deed(f"1:{number}:0", kind, START + at, at, who=ANN, token=token, wei=wei)


def shown(*deeds: Deed, who: bytes = ANN) -> Pending:
    people = {ANN: Person(START, BEN, START), BEN: Person(START)}
    season = rules.ours().seasons[0].id
    return pending(rules.ours(), Known(people=people), deeds, who=who, season=season)


def test_transfer_is_worth_its_amount_and_the_referrers_share() -> None:
    moved = deed(1, "bridge", at=7, wei=2 * ETH)
    points = 2 * rules.ours().at(START).bridge_points_per_eth * MICRO
    assert shown(moved) == Pending(points, {"bridge": points})
    assert shown(moved, who=BEN) == Pending(points // 10, {"referral": points // 10})


def test_transfer_of_another_chains_time_closes_no_window_of_trades() -> None:
    buy = deed(1, "trade", at=0, wei=ETH)
    sell = deed(2, "trade", at=599, wei=-ETH // 2)
    alone = shown(buy, sell)
    for at in (0, 300, 90_000):
        moved = deed(3, "bridge", at=at, wei=ETH)
        for order in permutations((buy, sell, moved)):
            if order.index(buy) < order.index(sell):
                found = shown(*order)
                assert found.by_rule["trade"] == alone.by_rule["trade"]
                assert found.micro == alone.micro + shown(moved).micro
