"""What the chain holds, read straight from the node's receipts; and who says otherwise.

`Truth.blocks` are re-read from the last block whose hash still stands, so asking again after
a reorg is cheap. Postgres is compared row by row: an event of the chain that has no row is
missed; a row without an event is doubled or false.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from chain.decode import Decoder
from chain.rpc import JsonRpc
from chain.source import ChainSource
from engine.messages import Block, ChainEvent, PoolSwapped, TokenCreated, Traded, Transferred
from engine.settings import ChainSettings
from engine.text import units
from storage.write import event_payload

READ_BATCH = 40

_EVENTS = """
SELECT tx_hash, position, block_number, block_hash, log_index, kind, payload::text AS payload
FROM events WHERE block_number BETWEEN $1 AND $2
"""
_TRADES = """
SELECT tx_hash, position, block_number, type, eth_amount, token_amount
FROM transactions WHERE position >= 0 AND type <> 'TRANSFER' AND block_number BETWEEN $1 AND $2
"""
_TRANSFERS = """
SELECT tx_hash, position, block_number, block_hash, amount
FROM transfers WHERE block_number BETWEEN $1 AND $2
"""


@dataclass
class Difference:
    """`missed`: on the chain and not there; `false`: there and not so on the chain."""

    compared: int = 0
    missed: int = 0
    false: int = 0
    shown: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.missed + self.false

    def of(self, name: str, truth: Counter[Any], told: Counter[Any]) -> None:
        missed, false = truth - told, told - truth
        self.compared += truth.total()
        self.missed += missed.total()
        self.false += false.total()
        self.shown += [f"{name} missed {_short(one)}" for one in list(missed)[:3]]
        self.shown += [f"{name} false {_short(one)}" for one in list(false)[:3]]


class Truth:
    """All events of the launchpads, by block."""

    def __init__(self, rpc: JsonRpc, chain: ChainSettings) -> None:
        self._source = ChainSource(rpc, chain)
        self._decoder = Decoder(chain)
        self._chain = chain
        self._first = chain.first_block
        self.blocks: list[Block] = []

    @property
    def tip(self) -> int:
        return self._first + len(self.blocks) - 1

    async def refresh(self) -> None:
        """Read on to the node's head; what a reorg took is dropped first."""
        head = (await self._source.head()).number
        while self.blocks:
            held = self.blocks[-1].header
            found = await self._source.header(held.number) if held.number <= head else None
            if found is not None and found.hash == held.hash:
                break
            self.blocks.pop()
        for first in range(self.tip + 1, head + 1, READ_BATCH):
            headers = await self._source.headers(first, min(first + READ_BATCH - 1, head))
            for header, logs in zip(headers, await self._source.blocks_logs(headers), strict=True):
                events = self._decoder.decode(logs, block_time=header.timestamp)
                self.blocks.append(Block(header, events))

    def events(self, first: int, last: int) -> list[tuple[Block, ChainEvent]]:
        """With their blocks, in order."""
        chosen = [one for one in self.blocks if first <= one.header.number <= last]
        return [(block, event) for block in chosen for event in block.events]

    def trades(self, first: int, last: int) -> int:
        """Buys and sells."""
        return sum(isinstance(event, Traded) for _, event in self.events(first, last))


async def postgres(
    truth: Truth, connection: Any, *, first: int, last: int | None = None
) -> Difference:
    """Rows against the chain; a token's transfers, too."""
    last = truth.tip if last is None else last
    found = Difference()
    events, trades, transfers = Counter[Any](), Counter[Any](), Counter[Any]()
    for block, event in truth.events(first, last):
        at, place = event.at, (event.at.tx_hash, event.at.position, event.at.block_number)
        if isinstance(event, Transferred):
            transfers[*place, block.header.hash, event.amount] += 1
            continue
        kind, payload = type(event).__name__, _canonical(event_payload(event))
        events[*place, block.header.hash, at.log_index, kind, payload] += 1
        if isinstance(event, Traded | PoolSwapped):
            side = "BUY" if event.is_buy else "SELL"
            trades[*place, side, event.eth, event.tokens] += 1
    rows = await connection.fetch(_EVENTS, first, last)
    told = Counter(
        (
            bytes(row["tx_hash"]),
            row["position"],
            row["block_number"],
            bytes(row["block_hash"]),
            row["log_index"],
            row["kind"],
            _canonical(row["payload"]),
        )
        for row in rows
    )
    found.of("event", events, told)
    rows = await connection.fetch(_TRADES, first, last)
    told = Counter(
        (*_place(r), r["type"], int(r["eth_amount"]), int(r["token_amount"]))
        for r in rows
        if r["type"] != "CREATE"
    )
    found.of("trade", trades, told)
    rows = await connection.fetch(_TRANSFERS, first, last)
    told = Counter((*_place(r), bytes(r["block_hash"]), int(r["amount"])) for r in rows)
    found.of("transfer", transfers, told)
    return found


def subscriber(
    truth: Truth,
    standing: Mapping[Any, Mapping[str, Any]],
    *,
    first: int,
    trail: Mapping[Any, list[str]] | None = None,
) -> Difference:
    """What a subscriber holds to be so, against the chain, from block `first` on. `trail` has
    what it was told of each.
    """
    found = Difference()
    events, told = Counter[Any](), Counter[Any]()
    for _, event in truth.events(first, truth.tip):
        if isinstance(event, Traded | PoolSwapped):
            side = "BUY" if event.is_buy else "SELL"
            amounts = (side, units(event.eth), units(event.tokens))
            events["0x" + event.at.tx_hash.hex(), event.at.position, *amounts] += 1
        elif isinstance(event, TokenCreated):
            events["0x" + event.at.tx_hash.hex(), event.at.position, "CREATE", "", ""] += 1
    for (tx_hash, position), data in standing.items():
        amounts = (data["type"], data.get("ethAmount", ""), data.get("tokenAmount", ""))
        told[tx_hash, position, *amounts] += 1
    found.of("told", events, told)
    for one in [*(events - told), *(told - events)][:3]:
        found.shown.append(f"{one[0][:14]}/{one[1]}: {(trail or {}).get(one[:2])}")
    return found


async def planted(truth: Truth, url: str, *, first: int) -> tuple[int, int]:
    """(bugs planted in Postgres, caught): each is undone again. None is caught for nothing:
    without a bug the comparison must find no difference.
    """
    victim = "(SELECT {0} FROM {1} WHERE block_number >= $1 AND {2} ORDER BY {0} LIMIT 1)"
    trade = victim.format("tx_hash", "transactions", "position >= 0 AND type IN ('BUY','SELL')")
    event = victim.format("tx_hash", "events", "kind = 'Traded'")
    bugs = [
        f"DELETE FROM transactions WHERE tx_hash = {trade}",
        f"UPDATE transactions SET eth_amount = eth_amount + 1 WHERE tx_hash = {trade}",
        "INSERT INTO transfers SELECT chain_id, tx_hash, position + 1000, version, block_number,"
        " block_hash, block_time, tx_index, log_index + 1000, token_address, sender, recipient,"
        " amount FROM transfers WHERE block_number >= $1 LIMIT 1",
        f"UPDATE events SET block_hash = decode(repeat('ee', 32), 'hex') WHERE tx_hash = {event}",
    ]
    caught = 0
    connection = await asyncpg.connect(url, timeout=10)
    try:
        for bug in bugs:
            undo = connection.transaction()
            await undo.start()
            try:
                done = await connection.execute(bug, first)
                assert not done.endswith(" 0"), f"nothing to spoil: {bug}"
                caught += (await postgres(truth, connection, first=first)).count > 0
            finally:
                await undo.rollback()
    finally:
        await connection.close()
    return len(bugs), caught


def _place(row: Any) -> tuple[bytes, int, int]:
    return bytes(row["tx_hash"]), row["position"], row["block_number"]


def _canonical(payload: str) -> str:
    return json.dumps(json.loads(payload), sort_keys=True)


def _short(one: Any) -> str:
    return str(tuple(part.hex()[:12] if isinstance(part, bytes) else part for part in one))[:160]
