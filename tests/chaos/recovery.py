"""A shard with a thousand markets and a hundred thousand trades that is killed again and again,
and two nodes of which one is away. Blocks of one second, as on RISE.

The history is real: a helper contract makes it on the chain in some hundred transactions, and
the system reads it as it reads any other.
"""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from eth_abi.abi import encode
from eth_hash.auto import keccak

from chain.decode import TOPIC_OF
from chain.rpc import JsonRpc
from deploy.embedded import Embedded
from tests.chaos import world as worlds
from tests.chaos.report import Row, say
from tests.chaos.world import RECOVERY_S_MAX, Running, stopped, until
from tests.support import running
from tests.support.evm import Chain, compile_sources
from tests.support.load import HARMLESS, Load, percentiles
from tests.support.servers import RISE, Anvil
from tests.support.tcp_proxy import TcpProxy

KILLS_MIN = 30
BLOCK_S = 1
REORG_DEPTH = 64
LAUNCHES_A_TX = 100
BUYS_A_TX = 500
BUY_WEI = 10**12
GAS = 900_000_000
SAMPLE = 24
READ_S_MAX = 300.0
AT_ONCE = 32
FAILOVER_S_MAX = 12.0
"""A silent node is found out by its socket (3 s), then by two calls that time out (2 s each)."""

AWAY_S = 8.0
HOME_S = 6.0
_LAUNCH = keccak(b"launch(address,uint256,uint256)")[:4]
_BUY = keccak(b"buy(address,address[],uint256)")[:4]


@dataclass(frozen=True)
class Size:
    """How much history."""

    markets: int = 1_000
    trades: int = 100_000


async def run(
    embedded: Embedded, folder: Path, rng: random.Random, *, kills: int, size: Size
) -> list[Row]:
    """Both rows."""
    rpc_url, ws_url = embedded.start_anvil(
        RISE, block_time=None, slots_in_an_epoch=32, keep_state=False
    )
    anvil = Anvil(rpc_url, ws_url, RISE, embedded.pid(f"anvil-{RISE}"))
    file = await worlds.deployed(anvil, folder)
    chain = worlds.settings_of(anvil, file, running.environment(folder))
    began = time.monotonic()
    tokens = await asyncio.to_thread(
        _history, anvil, chain.launchpad.address, size, folder / "compiled"
    )
    made_s = time.monotonic() - began
    say(f"  {len(tokens)} markets and {size.trades} trades in {made_s:.0f} s")
    port = urlsplit(rpc_url).port or 0
    async with TcpProxy(port) as first, TcpProxy(port) as second:
        variables = {
            "RISE_CHAIN_RPC": f"http://127.0.0.1:{first.port}",
            "RISE_CHAIN_RPC_2": f"http://127.0.0.1:{second.port}",
            "DEPLOYMENTS_FILE": str(file),
            "RISE_BLOCK_TIME_S": str(BLOCK_S),
            "MAX_REORG_DEPTH": str(REORG_DEPTH),
            "SHARDS": "1",
        }
        async with worlds.up(folder, **variables) as system:
            read_s = await _recorded(anvil, system)
            say(f"  read and recorded {read_s:.0f} s after the system was up")
            load = Load(
                api=system.api, chain=chain, anvil=anvil, send_url=anvil.rpc_url, seed=1, traders=4
            )
            await load.start(rng.sample(tokens, min(SAMPLE, len(tokens))))
            one = Running(
                anvil=anvil,
                system=system,
                chain=chain,
                load=load,
                straight=JsonRpc(rpc_url, timeout_s=30.0),
            )
            try:
                row = await _kills(one, tokens, rng, kills)
                row.figure |= {
                    "trades": size.trades,
                    "history_s": round(made_s, 1),
                    "read_s": round(read_s, 1),
                }
                return [row, await _two_nodes(one, first, second, markets=len(tokens))]
            finally:
                await load.stop()
                await one.straight.close()


def _history(anvil: Anvil, pad: bytes, size: Size, out: Path) -> list[str]:
    chain = Chain(anvil.rpc_url)
    try:
        sender = chain.account("historian")
        artifact = compile_sources(Path("tests/support/contracts"), out)["ManyTrades"]
        many = chain.create(artifact, b"", sender=sender)

        def send(data: bytes, value: int = 0) -> None:
            transaction = {
                "from": "0x" + sender.hex(),
                "to": "0x" + many.hex(),
                "data": "0x" + data.hex(),
                "value": hex(value),
                "gas": hex(GAS),
                "gasPrice": hex(10**10),
            }
            tx_hash = chain.rpc("eth_sendTransaction", transaction)
            while (receipt := chain.rpc("eth_getTransactionReceipt", tx_hash)) is None:
                time.sleep(0.01)
            assert receipt["status"] == "0x1", receipt

        for first in range(0, size.markets, LAUNCHES_A_TX):
            count = min(LAUNCHES_A_TX, size.markets - first)
            send(_LAUNCH + encode(["address", "uint256", "uint256"], [pad, first, count]))
        query = {"fromBlock": "0x0", "address": "0x" + pad.hex()}
        logs = chain.rpc("eth_getLogs", query | {"topics": ["0x" + TOPIC_OF["TokenCreated"].hex()]})
        tokens = ["0x" + log["topics"][1][-40:] for log in logs]
        assert len(tokens) == size.markets
        for first in range(0, size.trades, BUYS_A_TX):
            count = min(BUYS_A_TX, size.trades - first)
            chosen = [tokens[number % len(tokens)] for number in range(first, first + count)]
            arguments = encode(["address", "address[]", "uint256"], [pad, chosen, BUY_WEI])
            send(_BUY + arguments, BUY_WEI * count)
        # The history ends below the window: a shard finds it in snapshots and in Postgres.
        chain.mine(REORG_DEPTH + 16)
        chain.rpc("evm_setIntervalMining", BLOCK_S)
        return tokens
    finally:
        chain.close()


async def _recorded(anvil: Anvil, system: running.Running) -> float:
    began = time.monotonic()
    head = await asyncio.to_thread(lambda: int(anvil.rpc("eth_blockNumber"), 16))
    connection = await asyncpg.connect(system.run.database_url, timeout=10)
    try:

        async def there() -> bool:
            query = "SELECT block_number FROM cursors WHERE name = 'recorder'"
            return bool((await connection.fetchval(query) or 0) >= head)

        await until(there, READ_S_MAX, "the history is recorded")
    finally:
        await connection.close()
    return time.monotonic() - began


async def _kills(one: Running, tokens: list[str], rng: random.Random, count: int) -> Row:
    row = Row(
        "kill -9 any actor or process at any instant",
        "recovery of a shard with many markets",
        trials_min=KILLS_MIN,
    )
    silences: list[float] = []
    for number in range(count):
        await asyncio.sleep(rng.uniform(0.2, 1.5))
        one.load.forget_silence()
        pid = await one.pid("shard-0")
        os.kill(pid, signal.SIGKILL)
        await one.replaced("shard-0", pid)
        await one.calm_again()
        silence = one.load.longest_silence_s()
        silences.append(silence)
        row.trials += 1
        if silence > RECOVERY_S_MAX:
            row.fail(f"kill {number}: quotes silent for {silence:.2f} s")
        if set(one.load.codes) - HARMLESS:
            row.fail(f"kill {number}: answers {dict(one.load.codes)}")
        missing = await _unanswered(one, tokens)
        if missing:
            row.fail(f"kill {number}: {len(missing)} markets do not answer: {missing[:3]}")
        if number % 10 == 9:
            say(f"  {number + 1} kills")
    for line in one.load.went_back:
        row.fail(f"an older incarnation answered: {line}")
    row.figure |= {"markets": len(tokens), "quotes_back_s": percentiles(silences)}
    await one.verify(row, markets=len(tokens))
    # And the measure sees a shard that stays away.
    one.load.forget_silence()
    with stopped(await one.pid("shard-0"), await one.pid("supervisor")):
        await asyncio.sleep(RECOVERY_S_MAX + 1.0)
        row.plant("a shard that stays away", caught=one.load.longest_silence_s() > RECOVERY_S_MAX)
    await one.calm_again()
    return row


async def _unanswered(one: Running, tokens: list[str]) -> list[str]:
    lanes = [tokens[at::AT_ONCE] for at in range(AT_ONCE)]

    async def ask(lane: list[str]) -> list[str]:
        missing = []
        for token in lane:
            try:
                await one.load.quote(token)
            except Exception as error:
                missing.append(f"{token}: {error}")
        return missing

    return [one for part in await asyncio.gather(*map(ask, lanes)) for one in part]


async def _two_nodes(one: Running, first: TcpProxy, second: TcpProxy, *, markets: int) -> Row:
    row = Row("a dead or frozen feed is seen", "two nodes, blocks of a second", trials_min=3)
    silences: dict[str, float] = {}
    for name in ("frozen", "dead"):
        one.load.forget_silence()
        if name == "frozen":
            first.freeze()
        else:
            first.dead = True
            first.cut()
        await asyncio.sleep(AWAY_S)
        await one.calm_again()
        silences[name] = round(one.load.longest_silence_s(), 2)
        row.trials += 1
        if silences[name] > FAILOVER_S_MAX:
            row.fail(f"first node {name}: quotes silent for {silences[name]} s")
        first.dead = False
        first.thaw()
        await asyncio.sleep(HOME_S)
        await one.calm_again()
    row.figure["failover_silence_s"] = silences
    await _both_frozen(one, row, first, second)
    await one.verify(row, markets=markets)
    return row


async def _both_frozen(one: Running, row: Row, first: TcpProxy, second: TcpProxy) -> None:
    one.load.forget_silence()
    began = time.monotonic()
    first.freeze()
    second.freeze()

    async def stale() -> bool:
        return one.load.codes["stale_chain"] >= len(one.load.tokens)

    try:
        await until(stale, 2 * RECOVERY_S_MAX, "quotes turn stale")
    except AssertionError:
        row.fail(f"no 503 stale_chain: {dict(one.load.codes)}")
    stale_s, last_s = (
        time.monotonic() - began,
        max(one.load.answered.values()) - began,
    )
    answered = dict(one.load.answered)
    await asyncio.sleep(2.0)
    if one.load.answered != answered:
        row.fail("a quote was answered from an old state")
    if max(stale_s, last_s) > RECOVERY_S_MAX:
        row.fail(f"503 after {stale_s:.1f} s, the last quote after {last_s:.1f} s")
    second.thaw()
    first.thaw()
    thawed = time.monotonic()
    await one.calm_again()
    row.trials += 1
    row.figure |= {
        "stale_after_s": round(stale_s, 2),
        "last_quote_s": round(last_s, 2),
        "back_s": round(time.monotonic() - thawed, 2),
    }
