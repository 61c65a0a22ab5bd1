from collections import Counter
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import codec, positions
from engine.errors import ConsistencyError
from engine.messages import (
    Administered,
    Graduated,
    PoolSwapped,
    PoolSynced,
    Reopened,
    Traded,
    Transferred,
)
from engine.positions import NOTHING
from engine.rows import CandleRow, Launched
from storage import copying, records, statements, write
from tests.support.history import Historian, Traders
from tests.support.scenario import CHAIN_ID, LAUNCHPAD, LINEAR, Scenario


def rows_of_a_few_blocks():
    return group_of_a_few_blocks().blocks


def group_of_a_few_blocks():
    return write.group_of(plain_rows(), {}, {}, finalised=-1)


def plain_rows():
    scenario, historian = Scenario(seed=2), Historian()
    scenario.launch("first")
    scenario.launch("second", LINEAR)
    rows = [historian.rows(scenario.seal())]
    traders = Traders(scenario)
    for _ in range(3):
        traders.trade(5)
        rows.append(historian.rows(scenario.seal()))
    return rows


def recorded_before(group):
    """The same, its positions all there already, with nothing in them."""
    return replace(group, held=dict.fromkeys(positions.places_of(group.blocks), NOTHING))


def copied(copy, group):
    """Values of each row, as they are spelled."""
    return [line.split("\t") for line in copy.lines(CHAIN_ID, group)]


def recorded_event(event):
    """The event as a row of `events` says it, by column; one of a token's has bucket 3."""
    token = getattr(event, "token", b"")
    group = statements.Group([], launched={token: Launched(1, 3, LAUNCHPAD, LAUNCHPAD)})
    [copy] = [one for one in write.STATEMENTS if one.name == "events"]
    values = write._event(CHAIN_ID, group, event).split("\t")
    row = dict(zip(copy.fields.split(), values, strict=True))
    for name, value in row.items():
        if value.startswith("\\\\x"):
            row[name] = bytes.fromhex(value[3:])
        elif value.isdecimal():
            row[name] = int(value)
    row["payload"] = row["payload"].replace("\\\\", "\\")
    return row


def columns_of(name, group):
    [statement] = [
        one
        for one in write.STATEMENTS
        if one.name == name and isinstance(one, statements.Statement)
    ]
    return statement.columns(group)


def test_statements_have_as_many_columns_as_arguments():
    group = group_of_a_few_blocks()
    for statement in write.STATEMENTS:
        if isinstance(statement, statements.Copy):
            widths = {len(row) for row in copied(statement, group)}
            assert widths == {len(statement.fields.split())}, statement.name
            continue
        columns = statement.columns(recorded_before(group)) or [[]] * 3
        assert len({len(column) for column in columns}) == 1, statement.name
        wanted = len(columns) + statement.keyed
        assert f"${wanted}" in statement.sql, statement.name
        assert f"${wanted + 1}" not in statement.sql, statement.name


def test_statements_of_empty_blocks_have_no_columns_but_the_block():
    rows = [Historian().rows(Scenario().seal())]
    sent = [
        one.name for one in write.STATEMENTS if list(one.spelled(CHAIN_ID, statements.Group(rows)))
    ]
    assert sent == ["blocks"]


def test_group_knows_each_token_that_its_rows_name():
    first, *rest = plain_rows()
    launched = {
        row.token: Launched(row.version, row.bucket, row.launchpad, row.pair)
        for row in first.tokens
    }
    assert write.group_of([first, *rest], {}, {}, finalised=-1).launched == launched
    assert write.group_of(rest, {}, launched, finalised=-1).launched == launched
    unknown, others = min(launched.items())
    with pytest.raises(ConsistencyError, match="to be recorded"):
        known = {k: v for k, v in launched.items() if k != unknown}
        write.group_of(rest, {}, known, finalised=-1)
    with pytest.raises(ConsistencyError, match="version 1"):
        known = launched | {unknown: replace(others, version=2)}
        write.group_of(rest, {}, known, finalised=-1)


def test_users_are_sorted_and_hold_everyone_that_is_referred_to():
    group = group_of_a_few_blocks()
    [wallets] = columns_of("users", group)
    assert wallets == sorted(set(wallets))
    assert {row.user for block in group.blocks for row in block.transactions} <= set(wallets)


def test_markets_last_state_wins():
    group = group_of_a_few_blocks()
    last = {market.token: market for block in group.blocks for market in block.markets}
    columns = columns_of("markets", group)
    assert dict(zip(columns[1], columns[5], strict=True)) == {
        token: market.seq for token, market in last.items()
    }


def test_markets_count_trades_and_holders_but_not_their_own_contracts():
    group = group_of_a_few_blocks()
    trades = Counter(
        row.token
        for block in group.settled[0]
        for row in block.transactions
        if row.after is not None
    )
    holders = {token: set() for token in group.launched}
    for change in group.settled[1]:
        if change.place[2] != LAUNCHPAD and change.balance:
            holders[change.place[1]].add(change.place[2])
    _, token, *_, counted, joined = columns_of("markets", group)
    assert dict(zip(token, counted, strict=True)) == trades
    assert dict(zip(token, joined, strict=True)) == {
        token: len(who) for token, who in holders.items()
    }
    assert columns_of("holders", group) == []


def test_tokens_that_are_only_moved_have_their_holders_counted_too():
    group = group_of_a_few_blocks()
    quiet = [replace(block, markets=()) for block in group.blocks]
    _, tokens, joined = columns_of("holders", replace(group, blocks=quiet))
    _, *_, wanted = columns_of("markets", group)
    assert sorted(joined) == sorted(wanted)
    assert set(tokens) == set(group.launched)


def test_event_payload_comes_back_as_the_event():
    scenario = Scenario()
    token = scenario.launch("x")
    scenario.buy(token, 10**15)
    for event in scenario.seal().events:
        if isinstance(event, Transferred):
            continue
        row = recorded_event(event)
        assert records.market_event(row, CHAIN_ID) == event
        assert "at" not in orjson.loads(row["payload"])
        assert (row["token_address"], row["bucket"]) == (token, 3)


def test_event_without_a_token_has_no_token():
    scenario = Scenario()
    scenario.launch("x")
    at = scenario.seal().events[0].at
    row = recorded_event(Administered(at, 7, "LaunchesPausedSet", (("paused", 'so\t"true\\'),)))
    assert (row["kind"], row["event_seq"]) == ("Administered", 7)
    assert row["token_address"] == row["bucket"] == "\\N"
    assert orjson.loads(row["payload"]) == {
        "event_seq": "7",
        "name": "LaunchesPausedSet",
        "arguments": [["paused", 'so\t"true\\']],
    }


def test_payload_fields_are_all_but_the_header():
    names, _ = write._payload_fields(Traded)
    assert set(names) == set(codec._hints(Traded)) - {"at"}


@given(st.data())
def test_payload_of_a_trade_is_spelled_as_that_of_any_event(data):
    kinds = {int: st.integers(0, 2**256 - 1), bool: st.booleans(), bytes: st.binary(max_size=32)}
    fields = {k: v for k, v in codec._hints(Traded).items() if k != "at"}
    event = Traded(at=None, **{k: data.draw(kinds[v]) for k, v in fields.items()})
    plain = {name: codec.encode(getattr(event, name)) for name in fields}
    assert write.event_payload(event) == orjson.dumps(plain).decode()


def test_fold_makes_spellings_equal():
    assert write.fold("Große STRASSE") == write.fold("grosse straße")
    assert write.fold("\uff2d\uff2f\uff2f\uff2e") == "moon"


@given(st.text(max_size=50))
def test_fold_is_stable(text):
    assert write.fold(write.fold(text)) == write.fold(text)


def candle(minute, opened, close, *, high=None, low=None, volume=1):
    high = max(opened, close) if high is None else high
    low = min(opened, close) if low is None else low
    return CandleRow(b"t" * 20, 60 * minute, opened, high, low, close, volume, 2 * volume, 1)


def test_merge_candles_keeps_open_takes_close_and_sums():
    merged = write.merge_candles(
        [candle(1, 10, 12), candle(1, 12, 5, high=20, volume=3), candle(2, 5, 6)]
    )
    assert merged == [
        CandleRow(b"t" * 20, 60, 10, 20, 5, 5, 4, 8, 2),
        candle(2, 5, 6),
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99), st.integers(1, 99)), max_size=20))
def test_merge_candles_in_parts_is_merge_at_once(parts):
    candles = [candle(*part) for part in sorted(parts, key=lambda part: part[0])]
    for cut in range(len(candles) + 1):
        stepwise = write.merge_candles([*write.merge_candles(candles[:cut]), *candles[cut:]])
        assert stepwise == write.merge_candles(candles)


def test_pool_events_come_back_as_they_were_and_have_no_number():
    scenario = Scenario()
    token = scenario.launch("x")
    at = scenario.seal().events[0].at
    for event in (
        PoolSynced(at, token, 5, 7),
        PoolSwapped(at, token, b"t" * 20, b"r" * 20, True, 3, 4),
        Graduated(at, 9, 4, token, b"p" * 20, 1, 2, 3, 4, 5, 6, 2**200),
        Reopened(at, 10, 5, token),
    ):
        row = recorded_event(event)
        assert row["event_seq"] == getattr(event, "event_seq", "\\N")
        assert records.market_event(row, CHAIN_ID) == event


def test_markets_graduation_keeps_the_time_of_its_first_block():
    group = group_of_a_few_blocks()
    rows = group.blocks
    market = next(row.markets[0] for row in rows if row.markets)
    pool = replace(market, phase="graduated", reserve_token=3, reserve_weth=4)
    blocks = [replace(row, markets=(pool,)) for row in rows[1:]]
    [columns] = zip(*columns_of("markets", replace(group, blocks=blocks)), strict=True)
    assert columns[-5:-2] == (3, 4, blocks[0].header.timestamp)


def test_work_is_visible_at_once_up_to_the_final_block():
    group = group_of_a_few_blocks()
    [outbox] = [one for one in write.STATEMENTS if one.name == "outbox"]
    seen = {row[-3]: row[-1] for row in copied(outbox, replace(group, finalised=2))}
    assert seen == {"1": "now", "2": "now", "3": "\\N", "4": "\\N"}


def test_each_position_is_either_new_or_changed():
    group = group_of_a_few_blocks()
    [copy] = [one for one in write.STATEMENTS if one.name == "balances"][:1]
    places = positions.places_of(group.blocks)
    assert {tuple(row[1:4]) for row in copied(copy, group)} == {
        tuple(copying.line(place).split("\t")) for place in places
    }
    assert columns_of("balances", group) == []
    changed = recorded_before(group)
    assert copied(copy, changed) == []
    assert len(columns_of("balances", changed)[0]) == len(places)
