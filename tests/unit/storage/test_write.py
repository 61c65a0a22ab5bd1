from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from engine import codec, history
from engine.messages import (
    Administered,
    Graduated,
    PoolSwapped,
    PoolSynced,
    Reopened,
    Traded,
    Transferred,
)
from engine.rows import CandleRow
from storage import records, write
from tests.support.history import Historian, Traders
from tests.support.scenario import CHAIN_ID, LINEAR, Scenario


def rows_of_a_few_blocks():
    return history.with_bases(plain_rows(), {}, recorded=())


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


def columns_of(name, rows):
    [statement] = [one for one in write.STATEMENTS if one.name == name]
    return statement.columns(rows)


def test_statements_have_as_many_columns_as_arguments():
    rows = rows_of_a_few_blocks()
    for statement in write.STATEMENTS:
        columns = statement.columns(rows)
        assert len({len(column) for column in columns}) == 1, statement.name
        wanted = len(columns) + statement.keyed
        assert f"${wanted}" in statement.sql, statement.name
        assert f"${wanted + 1}" not in statement.sql, statement.name


def test_statements_of_empty_blocks_have_no_columns_but_the_block():
    rows = [Historian().rows(Scenario().seal())]
    assert [one.name for one in write.STATEMENTS if one.columns(rows)] == ["blocks"]
    assert write.outbox_columns(rows) == []


def test_users_are_sorted_and_hold_everyone_that_is_referred_to():
    rows = rows_of_a_few_blocks()
    [wallets] = columns_of("users", rows)
    assert wallets == sorted(set(wallets))
    assert {row.user for block in rows for row in block.transactions} <= set(wallets)


def test_markets_last_state_wins():
    rows = rows_of_a_few_blocks()
    last = {market.token: market for block in rows for market in block.markets}
    columns = columns_of("markets", rows)
    assert dict(zip(columns[0], columns[4], strict=True)) == {
        token: market.seq for token, market in last.items()
    }


def test_positions_are_sums_of_the_trades_and_the_basis_after_the_last():
    rows = rows_of_a_few_blocks()
    trades = [row for block in rows for row in block.transactions if row.after is not None]
    lines = list(zip(*columns_of("positions", rows), strict=True))
    assert sum(line[3] for line in lines) == len(trades) > len(lines) > 3
    for version, token, user, count, bought, sold, spent, received, *basis, block in lines:
        key = (version, token, user)
        mine = [row for row in trades if (row.at.version, row.token, row.user) == key]
        for side, tokens, eth in (("BUY", bought, spent), ("SELL", sold, received)):
            of_side = [row for row in mine if row.type == side]
            assert sum(row.token_amount for row in of_side) == tokens
            assert sum(row.eth_amount for row in of_side) == eth
        last = mine[-1]
        assert (count, block) == (len(mine), last.at.block_number)
        assert basis == [last.after.held, last.after.cost_wei]


def test_event_payload_comes_back_as_the_event():
    scenario = Scenario()
    token = scenario.launch("x")
    scenario.buy(token, 10**15)
    for event in scenario.seal().events:
        if isinstance(event, Transferred):
            continue
        columns = write._event(event)
        row = {
            "kind": columns[9],
            "payload": columns[12],
            **{name: getattr(event.at, name) for name in event.at.__slots__ if name != "chain_id"},
        }
        assert records.market_event(row, CHAIN_ID) == event
        assert "at" not in orjson.loads(columns[12])


def test_event_without_a_token_has_no_token():
    scenario = Scenario()
    scenario.launch("x")
    at = scenario.seal().events[0].at
    columns = write._event(Administered(at, 7, "LaunchesPausedSet", (("paused", "true"),)))
    assert columns[9:12] == ("Administered", None, 7)
    assert orjson.loads(columns[12]) == {
        "event_seq": "7",
        "name": "LaunchesPausedSet",
        "arguments": [["paused", "true"]],
    }


def test_payload_fields_are_all_but_the_header():
    assert set(write._payload_fields(Traded)) == set(codec._hints(Traded)) - {"at"}


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
        columns = write._event(event)
        assert columns[11] == getattr(event, "event_seq", None)
        row = {
            "kind": columns[9],
            "payload": columns[12],
            **{name: getattr(at, name) for name in at.__slots__ if name != "chain_id"},
        }
        assert records.market_event(row, CHAIN_ID) == event


def test_markets_graduation_keeps_the_time_of_its_first_block():
    rows = rows_of_a_few_blocks()
    market = next(row.markets[0] for row in rows if row.markets)
    pool = replace(market, phase="graduated", reserve_token=3, reserve_weth=4)
    blocks = [replace(row, markets=(pool,)) for row in rows[1:]]
    [columns] = zip(*columns_of("markets", blocks), strict=True)
    assert columns[-3:] == (3, 4, blocks[0].header.timestamp)
