"""`python -m bench.query_plans`: the plan of every query behind a page, run over a long history.

Prints each `EXPLAIN (ANALYZE, BUFFERS)`, a table, and one line of JSON; exits with 1 if a large
table is read from end to end.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from typing import Any

import asyncpg

from bench import history
from bench.machine import load_average, say
from deploy import datadir
from deploy.embedded import Embedded
from storage import queries, reads

LARGE = (
    *("tokens", "markets", "transactions", "transfers", "balances", "price_history", "events"),
    *("token_stats", "trader_stats", "users", "outbox"),
)
SMALL = ("tokens_hidden", "markets_graduating", "transactions_receipt_due")
"""Indexes of the few rows that are out of the ordinary."""

GATHERING = ("Sort", "Aggregate", "Hash", "Materialize", "Incremental Sort", "Bitmap Heap Scan")
_CHAIN = re.compile(r"chain_id = '?\d+'?")
_EQUAL = re.compile(r"([^<>]=|~~) ")
_TIME = re.compile(r"Execution Time: ([\d.]+) ms")
_PLANNING = re.compile(r"Planning Time: ([\d.]+) ms")


def every(*, token: bytes, wallet: bytes, now: int) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Name → (query, its arguments after the chain) of all that the doors read."""
    sql, market = queries.load("reads"), queries.load("market_reads")
    page, deep = (20, 0), (100, 9_900)
    after = (2**62, 2**31 - 1, 2**31 - 1)
    found: dict[str, tuple[str, tuple[Any, ...]]] = {
        "token": (sql["token"], (token,)),
        "transactions": (sql["token_transactions"], (token, *after, *page)),
        "transactions, deep": (sql["token_transactions"], (token, *after, *deep)),
        "transactions, cursor": (sql["token_transactions"], (token, 10**6, 0, 0, *page)),
        "count of transactions": (sql["count_token_transactions"], (token, 10_000)),
        "transaction": (sql["transaction"], (bytes(32),)),
        "wallet": (sql["wallet"], (wallet,)),
        "holdings": (sql["holdings"], (wallet, 100, False)),
        "holdings, closed": (sql["holdings"], (wallet, 100, True)),
        "cursor": (sql["cursor"], ()),
        "trending": (market["trending"], page),
        "count of trending": (market["count_trending"], (10_000,)),
        "king": (market["king"], ()),
        "of a creator": (market["of_creator"], (wallet, *page)),
        "count of a creator": (market["count_of_creator"], (wallet, 10_000)),
        "holders": (market["holders"], (token, *page)),
        "trades": (market["trades"], (*after, 20)),
        "traders": (market["traders"], page),
        "count of traders": (market["count_traders"], (10_000,)),
        "stats": (market["stats"], ("overview",)),
    }
    for timeframe, seconds, step_s in (
        ("1h", 3_600, 60),
        ("24h", 86_400, 300),
        ("7d", 604_800, 1_800),
    ):
        span = (token, now - seconds, now, step_s, 1_500)
        found[f"candles of {timeframe}"] = (sql["candles"], span)
    found["candles of 30d"] = (sql["candles"], (token, now - 30 * 86_400, now, 7_200, 1_500))
    return found | _lists(token)


def _lists(token: bytes) -> dict[str, tuple[str, tuple[Any, ...]]]:
    searches = {
        "": None,
        "c1": "two letters",
        "coin 3f": "some letters",
        f"0x{token.hex()}": "address",
    }
    found: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for needle, name in searches.items():
        for graduated in (None, True, False):
            where, values = reads._search(needle)
            label = ", ".join(
                [
                    part
                    for part in (name, graduated is not None and f"graduated {graduated}")
                    if part
                ]
            )
            found[f"count ({label})"] = (reads._count_query(where, graduated), (10_000, 0, *values))
            for sort in sorted(reads.SORTS):
                query = reads._list_query(sort, "desc", where=where + reads._phase(graduated))
                found[f"by {sort} ({label})"] = (query, (20, 0, *values))
    return found


def scans(plan: dict[str, Any], *, ordered: bool = False) -> list[str]:
    """Large tables and indexes that this plan (of EXPLAIN in JSON) reads from end to end.

    An index is, when nothing but the chain or a range leads into it; unless a LIMIT above ends
    the walk (`ordered`), with nothing between that has to see all rows first.
    """
    node, found = plan["Node Type"], []
    if node == "Seq Scan" and plan["Relation Name"] in LARGE:
        found.append(plan["Relation Name"])
    index = plan.get("Index Name")
    leads = _CHAIN.sub("", plan.get("Index Cond", ""))
    if index and index not in SMALL and not _EQUAL.search(leads) and not ordered:
        found.append(index)
    ordered = node == "Limit" or (ordered and node not in GATHERING)
    for below in plan.get("Plans", ()):
        outer = below.get("Parent Relationship") == "Outer"
        found += scans(below, ordered=ordered and (outer or node == "Subquery Scan"))
    return found


async def plans_of(
    connection: Any, asked: dict[str, tuple[str, tuple[Any, ...]]]
) -> dict[str, dict[str, Any]]:
    """Name → the root of its plan, estimated."""
    found = {}
    for name, (query, arguments) in asked.items():
        words = f"EXPLAIN (FORMAT JSON) {query}"
        (root,) = json.loads(await connection.fetchval(words, history.CHAIN_ID, *arguments))
        found[name] = root["Plan"]
    return found


async def measured(connection: Any, query: str, arguments: tuple[Any, ...]) -> str:
    """Its plan as text, of the second run, which is warm."""
    for _ in range(2):
        words = f"EXPLAIN (ANALYZE, BUFFERS) {query}"
        rows = await connection.fetch(words, history.CHAIN_ID, *arguments)
    return "\n".join(row[0] for row in rows)


async def run(url: str, size: history.Size, *, now: int, quiet: bool) -> int:
    """Prints everything; the process's code."""
    connection = await asyncpg.connect(url, command_timeout=120)
    asked = every(
        token=history.address("t", 3), wallet=history.address("w", size.wallets // 2), now=now
    )
    try:
        roots = await plans_of(connection, asked)
        plans = {name: await measured(connection, *one) for name, one in asked.items()}
    finally:
        await connection.close()
    faults = {name: found for name, root in roots.items() if (found := scans(root))}
    slowest = {name: float(_TIME.findall(plan)[0]) for name, plan in plans.items()}
    if not quiet:
        print("\n\n".join(f"---- {name}\n{plan}" for name, plan in plans.items()))
    print(f"{'query':45} {'ms':>9} {'planning':>9}")
    for name in sorted(slowest, key=lambda one: -slowest[one]):
        planning = float(_PLANNING.findall(plans[name])[0])
        print(f"{name:45} {slowest[name]:9.2f} {planning:9.2f}  {faults.get(name, '')}")
    line = {"queries": len(plans), "scans": faults, "slowest_ms": max(slowest.values())}
    print(json.dumps(line | {"load_average": load_average()}))
    return 1 if faults else 0


def main() -> int:
    """Fills an embedded Postgres, unless `--url` names one that is filled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=history.Size().tokens)
    parser.add_argument("--trades", type=int, default=history.Size().trades)
    parser.add_argument("--wallets", type=int, default=history.Size().wallets)
    parser.add_argument("--url", default="", help="a database that was filled before")
    parser.add_argument("--quiet", action="store_true", help="no plans, the table only")
    asked = parser.parse_args()
    size, now = history.Size(asked.tokens, asked.trades, asked.wallets), int(time.time())
    if asked.url:
        return asyncio.run(run(asked.url, size, now=now, quiet=asked.quiet))
    with datadir.temporary() as folder, Embedded(folder, durable=False) as servers:
        url = servers.start_postgres()
        asyncio.run(history.fill(url, size, now=now, say=say))
        return asyncio.run(run(url, size, now=now, quiet=asked.quiet))


if __name__ == "__main__":
    sys.exit(main())
