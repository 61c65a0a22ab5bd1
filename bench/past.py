"""A chain's past for a bench to live again: made on an anvil beforehand, as fast as that can.

While it is lived again (`bench.peers.past_node`) nothing is executed any more: the machine's cores
are the system's. Its blocks, in order: launches; quiet ones, for a system to come up on; then each
act, whose blocks all have trades, with quiet ones after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.bulk import FOREVER, GAS_PRICE, Bulk
from chain import create2, transactions
from chain.rpc import JsonRpc

QUIET_BEFORE = 120
QUIET_BETWEEN = 15
QUIET_AFTER = 30
LAUNCH_GAS = 6_000_000
AT_ONCE = 250
"""Transactions of one round trip: anvil reads no longer bodies."""


@dataclass(frozen=True, slots=True)
class Act:
    """So many blocks of so many trades each; `first` to `last` are their numbers."""

    trades: int
    first: int
    last: int

    @property
    def blocks(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Past:
    """`launched` is the last block of the launches."""

    tokens: tuple[str, ...]
    launched: int
    acts: tuple[Act, ...]


async def made(
    rpc: JsonRpc, *, launchpad: str, tokens: int, acts: Sequence[tuple[int, int]]
) -> Past:
    """Of (blocks, trades a block) the acts. The anvil mines nothing by itself from now on."""
    await rpc.call("evm_setIntervalMining", [0])
    await rpc.call("evm_setAutomine", [False])
    await rpc.call("anvil_setBlockTimestampInterval", [1])
    launched = [await _launched(rpc, launchpad, number) for number in range(tokens)]
    bulk = Bulk(rpc, launchpad=launchpad, tokens=launched)
    head = int(await rpc.call("eth_blockNumber", []), 16)
    await _quiet(rpc, QUIET_BEFORE)
    made = []
    for blocks, trades in acts:
        first = int(await rpc.call("eth_blockNumber", []), 16) + 1
        for _ in range(blocks):
            for at in range(0, trades, AT_ONCE):
                await bulk.send(min(AT_ONCE, trades - at))
            await rpc.call("evm_mine", [])
        made.append(Act(trades, first, first + blocks - 1))
        await _quiet(rpc, QUIET_BETWEEN)
    await _quiet(rpc, QUIET_AFTER)
    return Past(tuple(launched), head, tuple(made))


async def _quiet(rpc: JsonRpc, blocks: int) -> None:
    for _ in range(blocks):
        await rpc.call("evm_mine", [])


async def _launched(rpc: JsonRpc, launchpad: str, number: int) -> str:
    data = transactions.create(
        name=f"Bench {number}",
        symbol=f"B{number}",
        metadata_hash=bytes(32),
        salt=number.to_bytes(32, "big"),
        curve_id=0,
        min_tokens=0,
        deadline=FOREVER,
    )
    sender = (await rpc.call("eth_accounts", []))[0]
    call = {
        "from": sender,
        "to": launchpad,
        "data": "0x" + data.hex(),
        "gas": hex(LAUNCH_GAS),
        "gasPrice": hex(GAS_PRICE),
    }
    tx_hash = await rpc.call("eth_sendTransaction", [call])
    await rpc.call("evm_mine", [])
    receipt = await create2.receipt(rpc, "the launch", tx_hash)
    log = next(log for log in receipt["logs"] if log["address"] == launchpad.lower())
    return "0x" + str(log["topics"][1])[-40:]
