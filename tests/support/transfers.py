"""Messages and events of the bridge for tests."""

from dataclasses import replace

from engine.bridge.events import Cancelled, Deposited, Queued, Refunded, Released, TransferEvent
from engine.bridge.messages import Message
from engine.headers import EventHeader
from engine.messages import Block, BlockHeader

RISE, SEPOLIA = 11155931, 11155111
VAULTS = {RISE: b"\x01" * 20, SEPOLIA: b"\x02" * 20}
DEPOSITOR, RECIPIENT = b"\x0d" * 20, b"\x0e" * 20
ETHER = 10**18

MESSAGE = Message(
    source_chain=SEPOLIA,
    target_chain=RISE,
    source_vault=VAULTS[SEPOLIA],
    target_vault=VAULTS[RISE],
    nonce=1,
    depositor=DEPOSITOR,
    recipient=RECIPIENT,
    amount=ETHER,
    fee=ETHER // 1000,
    deadline=2_000_000,
)


def message(nonce: int = 1) -> Message:
    """Another one."""
    return replace(MESSAGE, nonce=nonce)


def header(chain_id: int, number: int, fork: int = 0) -> BlockHeader:
    """A block of a chain without surprises; `fork` tells two of one number apart."""
    return BlockHeader(
        chain_id, number, _hash(number, fork), _hash(number - 1, fork), 1_000_000 + number
    )


def at(chain_id: int, number: int, *, fork: int = 0, index: int = 0) -> EventHeader:
    """Where the `index`th log of a block stands; each in a transaction of its own."""
    tx_hash = (chain_id * 10**9 + number * 1000 + fork * 100 + index).to_bytes(32, "big")
    block = header(chain_id, number, fork)
    return EventHeader(
        chain_id, number, block.hash, block.timestamp, tx_hash, index, index, 0,
        VAULTS[chain_id], 1,
    )  # fmt: skip


def block(one: BlockHeader, *events: TransferEvent) -> Block:
    """A sealed block."""
    return Block(one, tuple(events))


def deposited(where: EventHeader, seq: int, of: Message, ref: bytes = bytes(32)) -> Deposited:
    return Deposited(where, seq, of.id, ref, of.depositor, of)


def released(where: EventHeader, seq: int, of: Message) -> Released:
    return Released(where, seq, of.id, of.recipient, of.amount, of.fee, True)


def queued(where: EventHeader, seq: int, of: Message) -> Queued:
    return Queued(where, seq, of.id, of.recipient, of.amount)


def cancelled(where: EventHeader, seq: int, of: Message) -> Cancelled:
    return Cancelled(where, seq, of.id, b"\x0c" * 20, of)


def refunded(where: EventHeader, seq: int, of: Message) -> Refunded:
    return Refunded(where, seq, of.id, of.depositor, of.amount, True)


def _hash(number: int, fork: int) -> bytes:
    # Before a fork's first block both are one chain.
    base = fork if fork and number > fork // 1000 else 0
    return (number * 10**6 + base).to_bytes(32, "big")
