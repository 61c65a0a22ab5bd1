"""A chain of the model's deeds: blocks that are played at random, forked and taken back."""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.model.launchpad import PAD, Launchpad, Log
from tests.model.ledger import Ledger
from tests.model.maths import Config, Fees, Refused
from tests.simulation import wire

E18 = 10**18
CONFIGS = (
    Config(0, 15 * E18 // 10, 1_073_000_000 * E18, 793_100_000 * E18, 206_900_000 * E18),
    Config(1, 1_400_000_000, 30_000_000, 650_000_000 * E18, 350_000_000 * E18),
)
FEES = (Fees(100, 50, 2_000, 30, 0, 0), Fees(100, 0, 0, 0, 30, 20))
PEOPLE = ("alice", "bob", "carol", "dave")
TOKENS_MAX = 9
GENESIS_TIME = 1_700_000_000

Deed = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Tx:
    hash: bytes
    deeds: tuple[Deed, ...]
    logs: tuple[Log, ...]


@dataclass
class SimBlock:
    """`pad` is the model after it."""

    number: int
    header: wire.Json
    receipts: list[wire.Json]
    txs: list[Tx]
    pad: Launchpad

    @property
    def hash(self) -> bytes:
        return bytes.fromhex(self.header["hash"][2:])

    @property
    def time(self) -> int:
        return int(self.header["timestamp"], 16)

    @property
    def json_logs(self) -> list[wire.Json]:
        return [log for receipt in self.receipts for log in receipt["logs"]]


@dataclass
class SimChain:
    """`blocks` is the canonical chain; `orphans` what was taken back."""

    random: random.Random
    blocks: list[SimBlock] = field(default_factory=list)
    orphans: list[SimBlock] = field(default_factory=list)
    _made: int = 0
    _salt: int = 0

    def __post_init__(self) -> None:
        genesis = wire.header([], number=0, parent=bytes(32), time=GENESIS_TIME, salt="genesis")
        self.blocks.append(SimBlock(0, genesis, [], [], Launchpad(block=1)))

    @property
    def tip(self) -> SimBlock:
        return self.blocks[-1]

    def by_hash(self, block_hash: str) -> SimBlock | None:
        every = (one for page in (self.blocks, self.orphans) for one in reversed(page))
        return next((one for one in every if one.header["hash"] == block_hash), None)

    def coming(self, count: int) -> list[Tx]:
        """Transactions at random that may be mined next, tried on the tip."""
        pad = self.tip.pad.copy()
        return [tx for _ in range(count) if (tx := self._played(pad)) is not None]

    def seal(self, txs: list[Tx]) -> SimBlock:
        """The next block: those of `txs` that the model does not refuse, made anew."""
        parent = self.tip
        pad = parent.pad.copy()
        pad.block = parent.number + 1
        made = [done for tx in txs if (done := _done(pad, tx.hash, tx.deeds)) is not None]
        receipts, first = [], 0
        for index, tx in enumerate(made):
            one = wire.receipt(
                list(tx.logs), tx_hash=tx.hash, index=index, first=first, number=pad.block
            )
            first += len(tx.logs)
            receipts.append(one)
        self._salt += 1
        time = parent.time + self.random.choice((1, 1, 1, 17))
        head = wire.header(
            receipts, number=pad.block, parent=parent.hash, time=time, salt=str(self._salt)
        )
        number = pad.block
        pad.block += 1
        block = SimBlock(number, head, receipts, made, pad)
        self.blocks.append(block)
        return block

    def fork(self, depth: int, length: int, *, kept: float) -> list[SimBlock]:
        """Take back the newest `depth` blocks and put `length` others there; each transaction
        that was in them comes again with probability `kept`, perhaps in another block.
        """
        gone = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        self.orphans = (self.orphans + gone)[-200:]
        again = [tx for block in gone for tx in block.txs if self.random.random() < kept]
        for _ in range(length):
            share = max(1, len(again) // length)
            txs, again = again[:share], again[share:]
            if self.random.random() < 0.2:
                self.random.shuffle(txs)
            self.seal(txs + self.coming(self.random.randrange(2)))
        return self.blocks[-length:]

    def ledger(self) -> Ledger:
        """What everybody must know of the canonical chain."""
        made = Ledger()
        for block in self.blocks:
            logs = [log for tx in block.txs for log in tx.logs]
            made.take(logs, time=block.time)
        return made

    def told(self) -> Iterator[tuple[bytes, int]]:
        """(transaction, position) of the launches and trades, which are published."""
        for tx in (tx for block in self.blocks for tx in block.txs):
            for position, (_, name, fields) in enumerate(tx.logs):
                foreign = name == "Swap" and fields["sender"] != PAD
                if foreign or name in ("TokenCreated", "Trade"):
                    yield tx.hash, position

    def identities(self) -> Iterator[tuple[bytes, int]]:
        """(transaction, position of the log in it) of every log."""
        for block in self.blocks:
            for tx in block.txs:
                yield from ((tx.hash, position) for position in range(len(tx.logs)))

    # -------------------------------------------------------------------- private

    def _played(self, pad: Launchpad) -> Tx | None:
        self._made += 1
        seed = f"{self.random.getrandbits(64)}:{self._made}".encode()
        pick = self.random
        deeds = []
        for _ in range(pick.choice((1, 1, 1, 2))):
            deeds += self._deed(pad, f"token {pick.getrandbits(40)}")
        return _done(pad, hashlib.sha256(seed).digest(), tuple(deeds))

    def _deed(self, pad: Launchpad, name: str) -> list[Deed]:  # noqa: PLR0911
        pick, who = self.random, self.random.choice(PEOPLE)
        dice = pick.random()
        markets = sorted(pad.markets)
        if not markets or (dice < 0.08 and len(markets) < TOKENS_MAX):
            value = pick.choice((0, pick.randrange(10**13, 10**16)))
            return [("create", (name, who, pick.choice(CONFIGS), pick.choice(FEES), value))]
        token = pick.choice(markets)
        phase = pad.markets[token].phase
        if phase == "graduating":
            return [("graduate" if pick.random() < 0.9 else "reopen", (token,))]
        if phase == "reopened" and dice < 0.3:
            return [("graduate", (token,))]
        if phase == "graduated" and dice < 0.5:
            return [self._on_pair(pad, token, who)]
        held = pad.balances.get((token, who), 0)
        if held and dice < 0.2:
            return [("transfer", (token, who, pick.choice((*PEOPLE, "erin")), held // 3))]
        if held and dice < 0.5:
            return [self._sell(token, who, held)]
        if dice < 0.6:
            return [("buy_exactly", (token, who, pick.randrange(1, 10**24), 10**18))]
        value = 10**20 if dice > 0.93 and phase == "curve" else pick.randrange(10**12, 10**17)
        return [("buy", (token, who, value))]

    def _sell(self, token: str, who: str, held: int) -> Deed:
        pick = self.random
        if pick.random() < 0.25:
            return "sell_for", (token, who, pick.randrange(1, 10**13))
        return "sell", (token, who, pick.choice((held, held // 2 + 1)))

    def _on_pair(self, pad: Launchpad, token: str, who: str) -> Deed:
        pick = self.random
        held = pad.balances.get((token, who), 0)
        if held and pick.random() < 0.5:
            return "swap_out", (token, who, held // 2 + 1)
        if pick.random() < 0.2:
            return "give_and_sync", (token, pick.randrange(1, 10**12))
        return "swap_in", (token, who, pick.randrange(10**10, 10**16))


def _done(pad: Launchpad, tx_hash: bytes, deeds: tuple[Deed, ...]) -> Tx | None:
    # As a transaction: a deed that is refused takes the earlier ones with it.
    before = pad.copy()
    try:
        for name, arguments in deeds:
            if (name == "create") == (arguments[0] in pad.markets):
                raise Refused("it is there, or is not there")
            if name == "give_and_sync":
                pad.give_weth(*arguments)
                pad.sync(arguments[0])
            else:
                getattr(pad, name)(*arguments)
    except Refused:
        vars(pad).update(vars(before))
        return None
    logs = tuple(pad.taken())
    return Tx(tx_hash, deeds, logs) if logs else None
