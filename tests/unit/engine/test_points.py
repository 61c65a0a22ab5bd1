"""Rows of points: as the model has them, however deeds are cut into batches."""

import copy
import random
from typing import TYPE_CHECKING, Any

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.points import merkle, rules
from engine.points.book import Book
from engine.points.entries import Deed
from engine.points.rules import MICRO
from engine.points.state import Known, Person, Window
from tests.model import points as model
from tests.support.deeds import START, TOKENS, WALLETS, deeds, plain, plain_people, world

if TYPE_CHECKING:
    from _collections_abc import dict_values

ETH = 10**18
ANN, BEN, CAT = WALLETS[:3]


def written(made: list[Deed], known: Known, now: int) -> Book:
    book = Book(rules.ours(), known)
    book.write(made, now=now)
    return book


def rows(book: Book) -> dict[str, tuple[str, bytes, int]]:
    assert len({one.key for one in book.entries}) == len(book.entries)
    return {one.key: (one.rule, one.who, one.micro) for one in book.entries}


def trade(number: int, *, at: int, wei: int, who: bytes = ANN, **fields: object) -> Deed:
    values: dict[str, Any] = {"fee": abs(wei) // 100, "tag": bytes(32), "token": TOKENS[0]}
    values |= fields
    return Deed(f"1:{number}:0", "trade", START + at, at, who=who, wei=wei, **values)


def known(**people: Person) -> Known:
    found = Known(people={ANN: Person(START)})
    names = {"ben": BEN, "cat": CAT, "ann": ANN}
    found.people |= {names[name]: person for name, person in people.items()}
    return found


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 120))
def test_rows_are_those_of_the_model(seed: int, count: int) -> None:
    made, people = deeds(seed, count), world(seed)
    now = START + random.Random(seed).randrange(8 * 86_400)
    made = [deed for deed in made if deed.time <= now]
    before = copy.deepcopy(people)
    book = written(made, people, now)
    assert rows(book) == model.points(plain(made), plain_people(before), now)
    owed = {one.key: (one.who, one.wei) for one in book.owed}
    assert owed == model.owed(plain(made), plain_people(before), before.codes)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 100))
def test_rows_do_not_depend_on_how_deeds_are_cut(seed: int, count: int) -> None:
    made, dice = deeds(seed, count), random.Random(seed)
    now = made[-1].time + dice.randrange(2_000)
    whole = written(made, world(seed), now)
    people, entries, owed, start = world(seed), [], [], 0
    while start < len(made):
        end = start + dice.randrange(1, 9)
        while end < len(made) and made[end].block == made[end - 1].block:
            end += 1
        upto = made[end].time if end < len(made) else now
        at = dice.randint(made[min(end, len(made)) - 1].time, upto)
        part = written(made[start:end], people, at if end < len(made) else now)
        entries, owed, start = entries + part.entries, owed + part.owed, end
    assert {e.key: e for e in entries} == {e.key: e for e in whole.entries}
    assert len(entries) == len(whole.entries) and owed == whole.owed


def test_buys_and_sells_within_ten_minutes_net_out() -> None:
    made = [
        trade(1, at=0, wei=ETH),
        trade(2, at=599, wei=-ETH + 5 * 10**15),
        trade(3, at=600, wei=-(10**15)),
    ]
    book = written(made, known(), START + 1_199)
    assert rows(book) == {"trade:1:1:0": ("trade", ANN, 5 * MICRO)}
    assert book.entries[0].facts == {
        "netWei": str(5 * 10**15), "grossWei": str(2 * ETH - 5 * 10**15), "trades": "2"
    }  # fmt: skip
    book = written(made, known(), START + 1_200)
    assert rows(book)["trade:1:3:0"] == ("trade", ANN, MICRO)


def test_strangers_and_trades_before_joining_earn_nothing() -> None:
    made = [trade(1, at=0, wei=ETH, who=BEN), trade(2, at=10, wei=ETH, who=CAT)]
    book = written(made, known(ben=Person(START + 1)), START + 9_999)
    assert book.entries == [] and book.owed == []


def test_outside_a_season_nothing_is_scored() -> None:
    season = rules.ours().seasons[0]
    late = trade(1, at=season.end - START, wei=ETH)
    last = trade(2, at=season.end - START - 1, wei=ETH)
    book = written([last, late], known(), season.end + 9_999)
    assert [one.key for one in book.entries] == ["trade:1:2:0"]


def test_shares_go_two_levels_up_with_points_and_fees() -> None:
    people = known(
        ann=Person(START, BEN, START), ben=Person(START - 9, CAT, START), cat=Person(START - 99)
    )
    book = written([trade(1, at=0, wei=ETH)], people, START + 600)
    assert {(r, w): m for r, w, m in rows(book).values()} == {
        ("trade", ANN): 1_000 * MICRO,
        ("referral", BEN): 100 * MICRO,
        ("referral", CAT): 50 * MICRO,
    }
    fee = ETH // 100
    assert [(o.who, o.level, o.wei) for o in book.owed] == [
        (BEN, 1, fee * 2_000 // 10_000),
        (CAT, 2, fee * 500 // 10_000),
    ]


def test_fees_are_shared_from_the_activation_on_and_up_to_the_cap() -> None:
    people = known(ann=Person(START, BEN, START), ben=Person(START - 9))
    small = trade(1, at=0, wei=10**16 - 1)
    assert written([small], people, START).owed == []
    huge = trade(2, at=1, wei=100_000 * ETH)
    book = written([huge, trade(3, at=2, wei=ETH)], people, START)
    assert [one.wei for one in book.owed] == [10 * ETH]


def test_fee_share_ends_after_its_time() -> None:
    people = known(ann=Person(START, BEN, START), ben=Person(START - 9))
    year = 365 * 86_400
    made = [trade(1, at=0, wei=ETH), trade(2, at=year - 1, wei=ETH), trade(3, at=year, wei=ETH)]
    assert [one.because for one in written(made, people, START).owed] == ["1:1:0", "1:2:0"]


def test_tag_decides_but_never_for_oneself() -> None:
    tag = b"cat".ljust(32, b"\0")
    people = known(ann=Person(START, BEN, START), ben=Person(START - 9), cat=Person(START - 9))
    people.codes[tag] = CAT, START
    made = [trade(1, at=0, wei=ETH, tag=tag), trade(2, at=0, wei=ETH, tag=tag, who=CAT)]
    assert [(one.who, one.referee) for one in written(made, people, START).owed] == [(CAT, ANN)]


def test_creations_count_three_a_day() -> None:
    made = [
        Deed(f"1:{n}:0", "create", START + n + (86_400 if n == 4 else 0), n, ANN, TOKENS[0])
        for n in range(5)
    ]
    book = written(made, known(), START + 99_999)
    assert [one.because for one in book.entries] == ["1:0:0", "1:1:0", "1:2:0", "1:4:0"]


def test_rules_out_of_order_are_refused() -> None:
    good = {"id": "a", "from": 0, "to": 10, "pool": 1}
    overlaps = {"seasons": [good, good | {"id": "b", "from": 9, "to": 20}], "versions": []}
    with pytest.raises(ValueError, match="order"):
        rules.read(overlaps)


# ----------------------------------------------------------------------- Merkle


@settings(deadline=None)
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70, unique=True))
def test_every_leaf_is_proved_and_no_other(leaves: list[bytes]) -> None:
    nodes = merkle.tree(leaves)
    for place in range(len(leaves) - 1, len(nodes)):
        proof = merkle.proof(place, nodes.__getitem__)
        assert merkle.holds(nodes[0], nodes[place], proof)
        assert not merkle.holds(nodes[0], bytes(31) + b"\1", proof)
    assert sorted(nodes[len(leaves) - 1 :]) == sorted(leaves)
    assert merkle.tree(leaves[::-1]) == nodes


def test_root_is_that_of_openzeppelins_library() -> None:
    # StandardMerkleTree.of([["0x1111…", "5000000000000000000"], ["0x2222…", "25…"]],
    # ["address", "uint256"]): the example of its documentation.
    lines = [("0x" + "11" * 20, 5 * ETH), ("0x" + "22" * 20, 25 * 10**17)]
    leaves = [keccak(keccak(encode(["address", "uint256"], line))) for line in lines]
    root = "d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77"
    assert merkle.tree(leaves)[0].hex() == root


def test_deed_looks_at_no_window_that_is_not_due() -> None:
    class Windows(dict[tuple[bytes, bytes], Window]):
        looked = 0

        def values(self) -> "dict_values[tuple[bytes, bytes], Window]":
            self.looked += 1
            return super().values()

    people = known()
    people.windows = windows = Windows()
    made = [
        trade(n, at=n // 100, wei=ETH, token=(n % 500).to_bytes(20, "big")) for n in range(2_000)
    ]
    book = written(made, people, START + 9_999)
    assert len(book.entries) == 500
    assert windows.looked <= 1
