"""Whether a run ended as it must, told from the chains alone and held against the rows.

Nothing of the program reads the chains here: logs by the contract's ABI, transactions by their
hash. `Findings` counts what the promises name.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from eth_hash.auto import keccak

from chain import abi
from chain.account import DigestKey
from tests.bridge.chains import RELAYER_KEY, Chains, End
from tests.bridge.world import World
from tests.support.evm import Chain, Contract, Event


@dataclass
class Findings:
    """What is wrong. `labels`: a nonce said to have ended otherwise than it did."""

    double: int = 0
    lost: int = 0
    stuck: int = 0
    premature: int = 0
    labels: int = 0
    rows: int = 0
    unwritten: int = 0
    text: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return (
            self.double
            + self.lost
            + self.stuck
            + self.premature
            + self.labels
            + self.rows
            + self.unwritten
        )

    def add(self, kind: str, text: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.text) < 20:
            self.text.append(f"{kind}: {text}")


@dataclass
class Truth:
    """What the chains say of each message."""

    deposited: dict[bytes, Event] = field(default_factory=dict)
    released: Counter[bytes] = field(default_factory=Counter)
    refunded: Counter[bytes] = field(default_factory=Counter)
    cancelled: Counter[bytes] = field(default_factory=Counter)
    queued: Counter[bytes] = field(default_factory=Counter)

    def ended(self, message_id: bytes) -> int:
        return self.released[message_id] + self.refunded[message_id]


def read(chains: Chains) -> Truth:
    """Every event of both vaults, by the ABI."""
    truth = Truth()
    for end in chains.ends.values():
        for event in _events(end):
            found = event.args.get("id")
            if event.name == "Deposited":
                truth.deposited[found] = event
            elif event.name in ("Released", "Refunded", "Cancelled", "Queued"):
                getattr(truth, event.name.lower())[found] += 1
    return truth


async def findings(world: World) -> Findings:
    """All of it."""
    found = Findings()
    truth = read(world.chains)
    await _transfers(world, truth, found)
    await _rows(world, truth, found)
    await transactions(world, found)
    await _attestations(world, found)
    return found


async def _transfers(world: World, truth: Truth, found: Findings) -> None:
    expected: dict[int, Counter[bytes]] = defaultdict(Counter)
    for message_id, event in truth.deposited.items():
        message = event.args["message"]
        times = truth.ended(message_id)
        if times == 0:
            found.add("lost", f"{message_id.hex()} has no end")
        elif times > 1:
            found.add("double", f"{message_id.hex()} was paid {times} times")
        if truth.released[message_id]:
            net = message["amount"] - message["fee"]
            expected[message["targetChain"]][message["recipient"]] += net
    for message_id in (truth.released + truth.refunded).keys() - truth.deposited.keys():
        found.add("double", f"{message_id.hex()} was paid and never deposited")
    for chain_id, owed in expected.items():
        for recipient, amount in owed.items():
            balance = await world.chains[chain_id].rpc.call(
                "eth_getBalance", ["0x" + recipient.hex(), "latest"]
            )
            if int(balance, 16) != amount:
                found.add("double", f"{recipient.hex()} has {int(balance, 16)}, owed {amount}")


async def _rows(world: World, truth: Truth, found: Findings) -> None:
    async with world.pool.acquire() as connection:
        rows = await connection.fetch("SELECT * FROM bridge_requests")
        outbox = await connection.fetch("SELECT * FROM bridge_outbox ORDER BY seq")
    by_message = {row["message_id"]: row for row in rows if row["message_id"] is not None}
    for message_id in truth.deposited:
        row = by_message.get(message_id)
        if row is None or row["ended_at"] is None:
            found.add("stuck", f"{message_id.hex()}: {dict(row) if row else 'no row'}")
            continue
        expected = ("COMPLETED", "released")
        if truth.refunded[message_id]:
            expected = ("FAILED", "refunded")
        if (row["status"], row["step"]) != expected:
            found.add("rows", f"{message_id.hex()} is {row['status']} {row['step']}, {expected}")
    if [row["seq"] for row in outbox] != list(range(1, len(outbox) + 1)):
        found.add("rows", "the outbox has a hole")
    ended = {row["id"] for row in by_message.values() if row["ended_at"] is not None}
    if sorted(row["request_id"] for row in outbox) != sorted(ended):
        found.add("rows", f"{len(outbox)} rows of the outbox for {len(ended)} that ended")


async def transactions(world: World, found: Findings) -> None:
    # Everything the account ever had mined was written down before, under the right request.
    sender = DigestKey(RELAYER_KEY).address
    async with world.pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT sends.*, message_id FROM bridge_sends AS sends"
            " LEFT JOIN bridge_requests AS r ON r.id = request_id AND r.version = sends.version"
            " AND r.source_chain = sends.source_chain WHERE sender = $1",
            sender,
        )
        offers = await connection.fetch("SELECT * FROM bridge_offers WHERE sender = $1", sender)
    hashes = {(row["chain_id"], row["tx_hash"]): row["nonce"] for row in offers}
    sends = {(row["chain_id"], row["nonce"]): row for row in rows}
    for end in world.chains.ends.values():
        mined = await _mined_by(end, sender)
        for nonce, (tx_hash, succeeded, data) in mined.items():
            row = sends.pop((end.chain_id, nonce), None)
            ours = hashes.get((end.chain_id, tx_hash)) == nonce
            if row is None or not ours:
                # Nobody else has this key.
                found.add("unwritten", f"{end.chain_id} nonce {nonce} {tx_hash.hex()}")
                continue
            outcome = "succeeded" if succeeded else "reverted"
            if (row["outcome"], row["tx_hash"]) != (outcome, tx_hash):
                found.add("labels", f"nonce {nonce} is {row['outcome']}, was {outcome}")
            if row["message_id"] is not None and row["message_id"] not in (
                keccak(data[4:324]),
                data[4:36],
            ):
                found.add("labels", f"nonce {nonce} pays another request than its own")
    for (chain_id, nonce), row in sends.items():
        if row["outcome"] is not None:
            found.add("labels", f"{chain_id} nonce {nonce} is {row['outcome']}, never mined")
        else:
            found.add("stuck", f"{chain_id} nonce {nonce} waits")


async def _mined_by(end: End, sender: bytes) -> dict[int, tuple[bytes, bool, bytes]]:
    mined = {}
    for number in range(end.first_block, await end.head() + 1):
        block = await end.rpc.call("eth_getBlockByNumber", [hex(number), True])
        for one in block["transactions"]:
            if bytes.fromhex(one["from"][2:]) != sender:
                continue
            receipt = await end.rpc.call("eth_getTransactionReceipt", [one["hash"]])
            mined[int(one["nonce"], 16)] = (
                bytes.fromhex(one["hash"][2:]),
                receipt["status"] == "0x1",
                bytes.fromhex(one["input"][2:]),
            )
    return mined


async def _attestations(world: World, found: Findings) -> None:
    for chain_id, number, block_hash, final in world.attested:
        block = await world.chains[chain_id].rpc.call("eth_getBlockByNumber", [hex(number), False])
        if number > final:
            found.add("premature", f"block {number} of {chain_id}, final was {final}")
        elif bytes.fromhex(block["hash"][2:]) != block_hash:
            found.add("premature", f"block {number} of {chain_id} is another one")


def _events(end: End) -> list[Event]:
    chain = Chain(end.settings.rpc_url)
    try:
        contract = Contract(chain, abi.load("BridgeVault"), end.vault)
        query: dict[str, Any] = {
            "address": "0x" + end.vault.hex(),
            "fromBlock": hex(end.first_block),
            "toBlock": "latest",
        }
        return contract.events({"logs": chain.rpc("eth_getLogs", query)})
    finally:
        chain.close()
