"""What must be true at the end of a run, whatever happened in it."""

from collections import defaultdict

from chain.decode import Decoder, raw_log
from engine import history
from engine.buckets import bucket_of
from engine.messages import PRECONFIRMED, Block, BlockHeader, CurveNumbers, FeedPosition
from engine.rows import BlockRows, MarketRow
from engine.said import Sayable
from engine.text import token_of_topic
from storage.events import EventStore
from tests.model.ledger import Ledger
from tests.simulation import wire
from tests.simulation.chain import SimBlock
from tests.simulation.loop import outside
from tests.simulation.world import World
from tests.support.dumps import dump

FRESH_CHAIN = 10**9
"""Added to the chain's id: where a history is kept that only saw the final chain."""

_TRADES = """
SELECT token_address, user_address, type, eth_amount, token_amount FROM transactions
WHERE chain_id = $1 AND type IN ('BUY', 'SELL') AND status = 'CONFIRMED'
ORDER BY block_number, tx_index, log_index
"""
_BALANCES = """
SELECT token_address, holder, balance, held_tokens, cost_wei,
    received_wei::numeric - spent_wei::numeric + cost_wei::numeric AS realised_wei
FROM balances WHERE chain_id = $1
"""
_CANDLES = """
SELECT token_address, time, open, high, low, close, volume_eth, volume_token, trades
FROM price_history WHERE chain_id = $1
"""


async def faults(world: World) -> list[str]:
    """Every law that is broken, as sentences."""
    unsettled = await world.settle()
    if unsettled:
        return [f"did not settle: {unsettled}"]
    await world.note_visible()
    found = await _memory(world)
    found += await _rows(world)
    found += await _against_model(world)
    found += _ticks(world)
    found += _trades(world)
    found += await _money(world)
    found += [f"logged: {line}" for line in world.log.lines if line[1] in ("role_bug",)]
    return found


def decoded(world: World) -> list[Block]:
    """The final chain as blocks of events, each log read once, in order."""
    decoder = Decoder(world.settings)
    return [_block(world, decoder, one) for one in world.chain.blocks]


async def _memory(world: World) -> list[str]:
    model = {wire.address(name): state for name, state in world.chain.tip.pad.state().items()}
    try:
        found = await world.states()
    except AssertionError as error:
        return [f"memory: {error}"]
    return [
        f"memory: {token.hex()[:8]} is {found.get(token)}, should be {model.get(token)}"
        for token in found.keys() | model.keys()
        if found.get(token) != model.get(token)
    ]


async def _rows(world: World) -> list[str]:
    with outside():
        await _write_fresh(world)
        ours = await dump(world.pool, world.chain_id)
        fresh = await dump(world.pool, world.chain_id + FRESH_CHAIN)
    broken = []
    for table, lines in fresh.items():
        mine = ours[table]
        missing, extra = set(lines) - set(mine), set(mine) - set(lines)
        if table == "blocks":
            # What was read below the window leaves out blocks without events of ours.
            missing = set()
        if missing or extra or (len(mine) != len(lines) and table != "blocks"):
            broken.append(f"{table}: missing {sorted(missing)[:2]}, extra {sorted(extra)[:2]}")
    return broken


async def _write_fresh(world: World) -> None:
    chain_id = world.chain_id + FRESH_CHAIN
    store = EventStore(world.pool, chain_id)
    incarnation = await store.claim()
    curves: dict[bytes, CurveNumbers] = {}
    states: dict[bytes, MarketRow] = {}
    rows: list[BlockRows] = []
    blocks = decoded(world)[1:]
    for block in blocks:
        made = history.rows_of(
            block, curves, states, venues=frozenset({world.settings.launchpad.address})
        )
        curves |= {row.token: row.curve for row in made.tokens}
        states |= {row.token: row for row in made.markets}
        rows.append(made)
    last = blocks[-1].header
    position = FeedPosition(last.number, last.hash)
    assert await store.write(rows, incarnation=incarnation, position=position)
    final = await world.pool.fetchval(
        "SELECT finalised_number FROM cursors WHERE chain_id = $1", world.chain_id
    )
    await store.finalise(final, incarnation)


async def _against_model(world: World) -> list[str]:
    ledger: Ledger = world.chain.ledger()
    with outside():
        trades = await world.pool.fetch(_TRADES, world.chain_id)
        balances = await world.pool.fetch(_BALANCES, world.chain_id)
        candles = await world.pool.fetch(_CANDLES, world.chain_id)
    broken = []
    wanted = [
        (wire.address(t["token"]), wire.address(t["user"]), t["type"], t["eth"], t["tokens"])
        for t in ledger.trades
    ]
    if [tuple(row) for row in trades] != wanted:
        broken.append(f"trades: {len(trades)} rows, the model has {len(wanted)}, or they differ")
    held = {(wire.address(t), wire.address(w)): n for (t, w), n in ledger.balances.items() if n}
    rows = {(row[0], row[1]): row[2] for row in balances if row[2]}
    if rows != held:
        broken.append(f"balances: {len(rows)} rows, the model has {len(held)}, or they differ")
    made = {
        (wire.address(t), wire.address(w)): (one.held, one.cost, one.realised)
        for (t, w), one in ledger.costs().items()
    }
    if {(row[0], row[1]): tuple(row)[3:] for row in balances if any(tuple(row)[3:])} != {
        key: one for key, one in made.items() if any(one)
    }:
        broken.append("profits: the model has others")
    kept = {(wire.address(t), time): candle for (t, time), candle in ledger.candles.items()}
    if {(row[0], row[1]): list(row)[2:] for row in candles} != kept:
        broken.append(f"candles: {len(candles)} rows, the model has {len(kept)}, or they differ")
    return broken


def _ticks(world: World) -> list[str]:
    broken = []
    last: dict[tuple[str, str], int] = {}
    current: dict[str, str] = {}
    shown: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)
    taken: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for told in world.ticks.told:
        tick = told.tick
        before = last.get((tick.topic, tick.generation))
        if before is not None and tick.seq != before + 1:
            broken.append(f"ticks: {tick.topic[:14]} went from {before} to {tick.seq}")
        last[tick.topic, tick.generation] = tick.seq
        if current.get(tick.topic) != tick.generation:
            current[tick.topic] = tick.generation
            shown[tick.topic].clear()  # whoever hears a new one asks for a snapshot
            taken[tick.topic].clear()
        identity = (str(tick.data.get("txHash")), int(str(tick.data.get("position", 0))))
        if tick.event == "transaction":
            shown[tick.topic][identity] = 1
            taken[tick.topic].discard(identity)
        elif tick.event == "retracted":
            shown[tick.topic].pop(identity, None)
            taken[tick.topic].add(identity)
    for topic in _told_of_a_new_owner(world, current):
        shown[topic].clear()  # the doors say `gap`, and a snapshot is asked for
        taken[topic].clear()
    return broken + _untrue(world, shown, taken)


def _untrue(
    world: World,
    shown: dict[str, dict[tuple[str, int], int]],
    taken: dict[str, set[tuple[str, int]]],
) -> list[str]:
    broken = []
    true = {(wire.hexed(tx_hash), place) for tx_hash, place in world.chain.told()}
    for topic, ones in shown.items():
        untrue = set(ones) - true
        if untrue:
            broken.append(f"retracted: {topic[:14]} still shows {sorted(untrue)[:2]}")
    for topic, ones in taken.items():
        if ones & true:
            broken.append(f"retracted: {topic[:14]} took back {sorted(ones & true)[:2]}")
    return broken


def _trades(world: World) -> list[str]:
    # On the topic of all trades: each sealed one once, and what was taken back, or preconfirmed
    # in vain, said to be so.
    said: dict[tuple[str, int], int] = {}
    waiting: dict[tuple[str, int], int] = {}
    broken = []
    for topic, event, data in world.ticks.counted:
        identity = str(data["txHash"]), int(data["position"])
        if topic != "trades":
            continue
        if event == "transaction" and data["status"] == PRECONFIRMED:
            waiting[identity] = int(data["blockNumber"])
        else:
            waiting.pop(identity, None)
            said[identity] = said.get(identity, 0) + 1 if event == "transaction" else 0
            if said[identity] > 1:
                broken.append(f"trades: {identity} was said {said[identity]} times")
    if world.ticks.gaps:
        return broken  # readers saw it
    true = _sayable(world)
    wrong = {one for one, count in said.items() if count} - true.keys()
    tip = world.chain.blocks[-1].number
    wrong |= {one for one, block in waiting.items() if block <= tip} - true.keys()
    missed = {one for one, is_due in true.items() if is_due and not said.get(one)}
    broken += [f"trades: {one} is not on the chain, and was not taken back" for one in wrong]
    return broken + [f"trades: {one} was never said" for one in missed]


def _sayable(world: World) -> dict[tuple[str, int], bool]:
    # Whether it came after somebody began to say what happens in its bucket.
    began = world.ticks.began
    return {
        ("0x" + event.at.tx_hash.hex(), event.at.position): bucket_of(event.token) in began
        and block.header.number > began[bucket_of(event.token)].number
        for block in decoded(world)
        for event in block.events
        if isinstance(event, Sayable)
    }


def _told_of_a_new_owner(world: World, current: dict[str, str]) -> list[str]:
    # See `gateway.fanout.Fanout.owned`: of a bucket whose owner has said nothing yet.
    assert world.supervisor is not None
    owners = {one.bucket: one.incarnation for one in world.supervisor.directory.owners}
    tokens = {topic: token_of_topic(topic) for topic in current}
    return [
        topic
        for topic, token in tokens.items()
        if token and int(current[topic].split("-")[0]) < owners[bucket_of(token)]
    ]


async def _money(world: World) -> list[str]:
    true = {f"{tx_hash.hex()}:{place}" for tx_hash, place in world.chain.identities()}
    untrue = [key for key in world.visible if ":".join(key.split(":")[1:3]) not in true]
    return [f"money: visible and not on the chain: {sorted(untrue)[:3]}"] if untrue else []


def _block(world: World, decoder: Decoder, one: SimBlock) -> Block:
    header = BlockHeader(
        world.chain_id,
        one.number,
        one.hash,
        bytes.fromhex(one.header["parentHash"][2:]),
        one.time,
    )
    events = decoder.decode([raw_log(log) for log in one.json_logs], block_time=one.time)
    return Block(header, events)
