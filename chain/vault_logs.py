"""A vault's logs to events. Every event of the vault is read, for each carries a number of the
vault's own counting; a log of it that is not known here is a ConsistencyError.
"""

from collections.abc import Callable, Iterable, Sequence

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from chain.words import RawLog, below, malformed, topic_address, topics, words
from engine.bridge.events import Cancelled, Deposited, Queued, Refunded, Released
from engine.bridge.messages import Message
from engine.headers import EventHeader
from engine.messages import Administered, ChainEvent

VAULT_VERSION = 1
_MESSAGE = "(uint256,uint256,address,address,uint256,address,address,uint256,uint256,uint256)"
_MESSAGE_WORDS = 10

SIGNATURES: dict[str, str] = {
    "Deposited": f"Deposited(bytes32,bytes32,address,uint256,{_MESSAGE})",
    "Released": "Released(bytes32,address,uint256,uint256,uint256,bool)",
    "Queued": "Queued(bytes32,address,uint256,uint256)",
    "Cancelled": f"Cancelled(bytes32,address,uint256,{_MESSAGE})",
    "Refunded": "Refunded(bytes32,address,uint256,uint256,bool)",
}
# Of these: what is indexed, and what stands in the data after eventSeq, with names.
_ADMINISTERED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Claimed": (("address account", "address to"), ("uint256 amount",)),
    "LiquidityAdded": (("address by",), ("uint256 amount",)),
    "LiquidityRemoved": (("address by", "address to"), ("uint256 amount",)),
    "FeesClaimed": (("address to",), ("uint256 amount",)),
    "PausedBy": (("address by",), ()),
    "Unpaused": ((), ()),
    "PeerSet": ((), ("uint256 chainId", "address vault")),
    "SignersChanged": (
        (),
        ("uint256 epoch", "uint256 threshold", "address[] signers", "bytes32 signerSet"),
    ),
    "LimitChanged": ((), ("uint256 limit",)),
    "MinimumChanged": ((), ("uint256 minimum",)),
    "FeeChanged": ((), ("uint256 feeBps",)),
    "GuardianChanged": (("address account",), ("bool allowed",)),
    "LiquidityProviderChanged": (("address account",), ("bool allowed",)),
    "Scheduled": (("bytes32 action",), ("uint256 executableAt", "bytes data")),
    "Unscheduled": (("bytes32 action",), ()),
    "OwnerProposed": (("address proposed",), ()),
    "OwnerChanged": (("address previous", "address owner"), ()),
}


def _signature(name: str) -> str:
    indexed, plain = _ADMINISTERED[name]
    kinds = [one.split()[0] for one in (*indexed, "uint256 eventSeq", *plain)]
    return f"{name}({','.join(kinds)})"


SIGNATURES |= {name: _signature(name) for name in _ADMINISTERED}
TOPIC_OF: dict[str, bytes] = {name: keccak(text.encode()) for name, text in SIGNATURES.items()}
TOPICS: tuple[str, ...] = tuple("0x" + topic.hex() for topic in TOPIC_OF.values())
"""Topic 0 of everything a vault says, as a node's filter takes it."""


class VaultDecoder:
    """The decoder of one vault, at one address for ever."""

    def __init__(self, chain_id: int, vault: bytes, version: int = VAULT_VERSION) -> None:
        self._chain_id = chain_id
        self._vault = vault
        self._version = version

    def ours(self, log: RawLog) -> bool:
        """Whether `decode` would make an event of this log."""
        return log.address == self._vault

    def learn(self, logs: Iterable[RawLog]) -> None:
        """A vault makes no other contracts: there is nothing to learn."""

    def decode(self, logs: Sequence[RawLog], *, block_time: int) -> tuple[ChainEvent, ...]:
        """The vault's events of one block, in order, each once. `logs` is all of that block.

        Raises ConsistencyError("malformed_log").
        """
        events: list[ChainEvent] = []
        transaction, first, last = b"", 0, -1
        for log in sorted(logs, key=lambda one: one.log_index):
            if log.tx_hash != transaction:
                transaction, first = log.tx_hash, log.log_index
            if log.log_index == last or log.removed or not self.ours(log):
                continue
            last = log.log_index
            read = _READERS.get(log.topics[0] if log.topics else b"")
            if read is None:
                raise malformed(log, "an event of a vault")
            events.append(read(log, self._header(log, log.log_index - first, block_time)))
        return tuple(events)

    def _header(self, log: RawLog, position: int, block_time: int) -> EventHeader:
        return EventHeader(
            self._chain_id,
            log.block_number,
            log.block_hash,
            block_time,
            log.tx_hash,
            log.tx_index,
            log.log_index,
            position,
            log.address,
            self._version,
        )


# ------------------------------------------------------------------ events, one a function

_Read = Callable[[RawLog, EventHeader], ChainEvent]


def _address(log: RawLog, word: int) -> bytes:
    below(log, 160, word)
    return word.to_bytes(20, "big")


def _flag(log: RawLog, word: int) -> bool:
    below(log, 1, word)
    return word == 1


def _message(log: RawLog, found: Sequence[int]) -> Message:
    source, target, source_vault, target_vault, nonce, depositor, recipient, *rest = found
    message = Message(
        source,
        target,
        _address(log, source_vault),
        _address(log, target_vault),
        nonce,
        _address(log, depositor),
        _address(log, recipient),
        *rest,
    )
    if message.id != log.topics[1]:
        raise malformed(log, "the id of its message")
    return message


def _deposited(log: RawLog, at: EventHeader) -> Deposited:
    topics(log, 4)
    event_seq, *found = words(log, 1 + _MESSAGE_WORDS)
    message = _message(log, found)
    return Deposited(at, event_seq, message.id, log.topics[2], topic_address(log, 3), message)


def _released(log: RawLog, at: EventHeader) -> Released:
    topics(log, 3)
    event_seq, amount, fee, paid = words(log, 4)
    recipient = topic_address(log, 2)
    return Released(at, event_seq, log.topics[1], recipient, amount, fee, _flag(log, paid))


def _queued(log: RawLog, at: EventHeader) -> Queued:
    topics(log, 3)
    event_seq, amount = words(log, 2)
    return Queued(at, event_seq, log.topics[1], topic_address(log, 2), amount)


def _cancelled(log: RawLog, at: EventHeader) -> Cancelled:
    topics(log, 3)
    event_seq, *found = words(log, 1 + _MESSAGE_WORDS)
    message = _message(log, found)
    return Cancelled(at, event_seq, message.id, topic_address(log, 2), message)


def _refunded(log: RawLog, at: EventHeader) -> Refunded:
    topics(log, 3)
    event_seq, amount, paid = words(log, 3)
    depositor = topic_address(log, 2)
    return Refunded(at, event_seq, log.topics[1], depositor, amount, _flag(log, paid))


def _administered(name: str) -> _Read:
    # Rare, and some hold lists: a general decoder reads them.
    indexed, plain = _ADMINISTERED[name]
    names = [one.split()[1] for one in (*indexed, *plain)]
    kinds = [one.split()[0] for one in ("uint256 eventSeq", *plain)]

    def read(log: RawLog, at: EventHeader) -> Administered:
        topics(log, 1 + len(indexed))
        try:
            event_seq, *values = decode(kinds, log.data)
            first = [decode([one.split()[0]], topic)[0] for one, topic in _pairs(indexed, log)]
        except (DecodingError, ValueError, OverflowError) as error:
            raise malformed(log, f"a {name}") from error
        shown = tuple(zip(names, map(_shown, (*first, *values)), strict=True))
        return Administered(at, event_seq, name, shown)

    return read


def _pairs(indexed: Sequence[str], log: RawLog) -> list[tuple[str, bytes]]:
    return list(zip(indexed, log.topics[1:], strict=True))


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple | list):
        return ",".join(map(_shown, value))
    return str(value).lower()


_READERS: dict[bytes, _Read] = {
    TOPIC_OF["Deposited"]: _deposited,
    TOPIC_OF["Released"]: _released,
    TOPIC_OF["Queued"]: _queued,
    TOPIC_OF["Cancelled"]: _cancelled,
    TOPIC_OF["Refunded"]: _refunded,
    **{TOPIC_OF[name]: _administered(name) for name in _ADMINISTERED},
}
