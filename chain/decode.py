"""Logs to events.

A log's `position` counts the logs of its own transaction, so it can only be told from the
*whole* transaction: `decode` takes all logs of a block, foreign ones too, as `ChainSource`
reads them by block hash. A topic filter serves to find blocks, never to read one.

Foreign addresses are dropped before anything of theirs is decoded. Words are cut by hand:
a general ABI decoder takes ten times as long. What one of our own contracts could not
have written is a ConsistencyError.

A pair of ours speaks in two logs, from graduation on and by strangers' hand before it:
  - `Sync`: its reserves after; always an event.
  - `Swap`: none when the launchpad swapped, whose `Trade` follows with the trader's name;
    none when nothing was traded (what went in came out, as a flash loan does); else a buy or
    sell. Who sold is not in it: the sender of the last transfer of tokens into the pair is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eth_hash.auto import keccak

from chain.words import RawLog as RawLog  # noqa: PLC0414 (said here too)
from chain.words import below as _below
from chain.words import malformed as _malformed
from chain.words import topic_address as _topic_address
from chain.words import topics as _topics
from chain.words import words as _words
from curves.values import value
from engine.messages import (
    Administered,
    ChainEvent,
    Completed,
    CurveAdded,
    CurveNumbers,
    EventHeader,
    FeeNumbers,
    Graduated,
    PoolSwapped,
    PoolSynced,
    Reopened,
    TokenCreated,
    Traded,
    Transferred,
)
from engine.settings import ChainSettings

_CURVE = "(uint8,uint128,uint128,uint128,uint128)"
_FEES = "(uint16,uint16,uint16,uint16,uint16,uint16)"
_FEE_NAMES = (
    "protocolBps",
    "creatorBps",
    "launchBps",
    "launchBlocks",
    "poolProtocolBps",
    "poolCreatorBps",
)

SIGNATURES: dict[str, str] = {
    "CurveAdded": "CurveAdded(uint256,uint256,uint8,uint256,uint256,uint256,uint256)",
    "TokenCreated": "TokenCreated(address,address,uint256,uint256,address,bool,uint256,"
    f"{_CURVE},{_FEES},bytes32,string,string)",
    "Trade": "Trade(address,address,address,uint256,uint256,bool,bool,uint8,bytes32,uint256,"
    "uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bool)",
    "Completed": "Completed(address,uint256,uint256,uint256,uint256)",
    "Reopened": "Reopened(address,uint256,uint256)",
    "Graduated": f"Graduated(address,address,{','.join(['uint256'] * 9)})",
    "ProtocolFeesClaimed": "ProtocolFeesClaimed(uint256,address,uint256)",
    "CreatorFeesClaimed": "CreatorFeesClaimed(uint256,address,address,uint256)",
    "FeesChanged": f"FeesChanged(uint256,{_FEES})",
    "LaunchesPausedChanged": "LaunchesPausedChanged(uint256,bool)",
    "OwnerProposed": "OwnerProposed(uint256,address,address)",
    "OwnerChanged": "OwnerChanged(uint256,address,address)",
    "Transfer": "Transfer(address,address,uint256)",
    "Sync": "Sync(uint112,uint112)",
    "Swap": "Swap(address,uint256,uint256,uint256,uint256,address)",
}
TOPIC_OF: dict[str, bytes] = {name: keccak(text.encode()) for name, text in SIGNATURES.items()}
TOPICS: tuple[str, ...] = tuple("0x" + topic.hex() for topic in TOPIC_OF.values())
"""Topic 0 of everything that is followed, as a node's filter takes it."""

_TOKEN_CREATED = TOPIC_OF["TokenCreated"]
_TRANSFER = TOPIC_OF["Transfer"]
_SYNC = TOPIC_OF["Sync"]
_SWAP = TOPIC_OF["Swap"]
_POOL_VERSION = 2
_CREATED_HEAD_WORDS = 19


def raw_log(json: Mapping[str, Any]) -> RawLog:
    """A log of eth_getLogs, a receipt or a subscription. Raises ValueError, KeyError, TypeError."""
    block_hash = json.get("blockHash")
    hashed = bytes.fromhex(block_hash[2:]) if block_hash else b""
    number, tx_index = int(json["blockNumber"], 16), int(json["transactionIndex"], 16)
    log_index = int(json["logIndex"], 16)
    if number < 0 or tx_index < 0 or log_index < 0:
        raise ValueError(f"Expected places from 0 on, was {number}, {tx_index}, {log_index}")
    return RawLog(
        address=bytes.fromhex(json["address"][2:]),
        topics=tuple([bytes.fromhex(topic[2:]) for topic in json["topics"]]),
        data=bytes.fromhex(json["data"][2:]),
        block_number=number,
        # Null and zero both mean: not sealed yet.
        block_hash=hashed if any(hashed) else None,
        tx_hash=bytes.fromhex(json["transactionHash"][2:]),
        tx_index=tx_index,
        log_index=log_index,
        removed=bool(json.get("removed")),
    )


@value
class LogPlace:
    """Where a log stands. Most logs that are pushed are known: of those no more is read."""

    block_number: int
    block_hash: bytes | None
    tx_hash: bytes
    log_index: int


def log_place(json: Mapping[str, Any]) -> LogPlace:
    """Of a log as `raw_log` takes it. Raises ValueError, KeyError, TypeError."""
    block_hash = json.get("blockHash")
    hashed = bytes.fromhex(block_hash[2:]) if block_hash else b""
    return LogPlace(
        int(json["blockNumber"], 16),
        hashed if any(hashed) else None,
        bytes.fromhex(json["transactionHash"][2:]),
        int(json["logIndex"], 16),
    )


_Read = Callable[[RawLog, EventHeader], ChainEvent]


class Decoder:
    """Remembers which addresses are ours: launchpads of the registry, tokens they made, pairs of
    those tokens (from launchpad version 2 on: those of version 1 never graduate).

    A token counts from its TokenCreated on, and by that its mint, which stands before it
    in the same block, is ours too. Tokens of orphaned blocks stay: their CREATE2 address
    can never be anything else.
    """

    def __init__(
        self,
        chain: ChainSettings,
        tokens: Mapping[bytes, int] | None = None,
        pairs: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._chain_id = chain.chain_id
        self._weth = chain.weth
        self._launchpads = {one.address: one.version for one in chain.launchpads}
        self._tokens = dict(tokens or {})
        self._readers = {one.address: _READERS[one.version] for one in chain.launchpads}
        self._pairs: dict[bytes, bytes] = {}
        for pair, token in (pairs or {}).items():
            self._learn_pair(pair, token)

    @property
    def tokens(self) -> Mapping[bytes, int]:
        """Token to the version of its launchpad."""
        return self._tokens

    @property
    def pairs(self) -> Mapping[bytes, bytes]:
        """Pair to its token."""
        return self._pairs

    def ours(self, log: RawLog) -> bool:
        """Whether `decode` would make an event of this log."""
        if not log.topics:
            return False
        topic = log.topics[0]
        readers = self._readers.get(log.address)
        if readers is not None:
            return topic in readers
        if topic == _TRANSFER:
            return log.address in self._tokens
        if log.address not in self._pairs:
            return False
        return topic == _SYNC or (topic == _SWAP and self._is_foreign_trade(log))

    def learn(self, logs: Iterable[RawLog]) -> None:
        """Take in the tokens created in these logs, and their pairs."""
        for log in logs:
            version = self._launchpads.get(log.address)
            if version is not None and log.topics and log.topics[0] == _TOKEN_CREATED:
                token = _topic_address(log, 1)
                self._tokens[token] = version
                self._learn_pair(_created_pair(log), token)

    def decode(self, logs: Sequence[RawLog], *, block_time: int) -> tuple[ChainEvent, ...]:
        """Our events of one block, in order, each once. `logs` is all logs of that block.

        Raises ConsistencyError("malformed_log").
        """
        ordered = sorted(logs, key=lambda log: log.log_index)
        self.learn(ordered)
        events: list[ChainEvent] = []
        transaction, first, last = b"", 0, -1
        sellers: dict[bytes, bytes] = {}
        for log in ordered:
            if log.tx_hash != transaction:
                transaction, first = log.tx_hash, log.log_index
                sellers.clear()
            if log.log_index == last or log.removed or not self.ours(log):
                continue
            last = log.log_index
            header = self._header(log, log.log_index - first, block_time)
            event = self._event(log, header, sellers)
            events.append(event)
            if isinstance(event, Transferred) and event.recipient in self._pairs:
                sellers[event.recipient] = event.sender
        return tuple(events)

    def _learn_pair(self, pair: bytes, token: bytes) -> None:
        if self._tokens.get(token, 0) >= _POOL_VERSION:
            self._pairs[pair] = token

    def _header(self, log: RawLog, position: int, block_time: int) -> EventHeader:
        version = self._launchpads.get(log.address)
        if version is None:
            version = self._tokens[self._pairs.get(log.address, log.address)]
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
            version,
        )

    def _event(self, log: RawLog, at: EventHeader, sellers: Mapping[bytes, bytes]) -> ChainEvent:
        token = self._pairs.get(log.address)
        if token is None:
            readers = self._readers.get(log.address)
            return _transferred(log, at) if readers is None else readers[log.topics[0]](log, at)
        token_first = token < self._weth
        if log.topics[0] == _SYNC:
            return _pool_synced(log, at, token, token_first=token_first)
        _topics(log, 3)
        seller = sellers.get(log.address) or _topic_address(log, 1)
        return _pool_swapped(log, at, token, token_first=token_first, seller=seller)

    def _is_foreign_trade(self, log: RawLog) -> bool:
        if len(log.topics) != 3 or len(log.data) != 4 * 32:
            return True  # malformed, which `decode` says
        in0, in1, out0, out1 = _words(log, 4)
        # One side goes in, the other comes out.
        return log.topics[1][12:] not in self._launchpads and (in0 - out0) * (in1 - out1) < 0


# ------------------------------------------------------------------ parts of events


def _curve(log: RawLog, words: Sequence[int]) -> CurveNumbers:
    family, a, b, curve_supply, pool_supply = words
    _below(log, 1, family)
    _below(log, 128, a, b, curve_supply, pool_supply)
    return CurveNumbers(family, a, b, curve_supply, pool_supply)


def _fees(log: RawLog, words: Sequence[int]) -> FeeNumbers:
    _below(log, 16, *words)
    return FeeNumbers(*words)


def _text(log: RawLog, offset: int) -> str:
    data = log.data
    start = offset + 32
    if start > len(data):
        raise _malformed(log, "text inside the data")
    length = int.from_bytes(data[offset:start], "big")
    if start + length > len(data):
        raise _malformed(log, "text inside the data")
    return data[start : start + length].decode("utf-8", "replace").replace("\0", "")


# ------------------------------------------------------------------ events, one a function


def _curve_added(log: RawLog, at: EventHeader) -> CurveAdded:
    _topics(log, 2)
    words = _words(log, 6)
    curve_id = int.from_bytes(log.topics[1], "big")
    return CurveAdded(at, words[0], curve_id, _curve(log, words[1:]))


def _token_created(log: RawLog, at: EventHeader) -> TokenCreated:
    _topics(log, 3)
    data = log.data
    if len(data) < _CREATED_HEAD_WORDS * 32:
        raise _malformed(log, "a head of 19 words")
    w = [int.from_bytes(data[i : i + 32], "big") for i in range(0, _CREATED_HEAD_WORDS * 32, 32)]
    _below(log, 1, w[3])
    return TokenCreated(
        at=at,
        event_seq=w[0],
        seq=w[1],
        token=_topic_address(log, 1),
        creator=_topic_address(log, 2),
        pair=_created_pair(log),
        pair_preexisted=bool(w[3]),
        curve_id=w[4],
        curve=_curve(log, w[5:10]),
        fees=_fees(log, w[10:16]),
        metadata_hash=data[16 * 32 : 17 * 32],
        name=_text(log, w[17]),
        symbol=_text(log, w[18]),
    )


def _created_pair(log: RawLog) -> bytes:
    if len(log.data) < 3 * 32 or any(log.data[2 * 32 : 2 * 32 + 12]):
        raise _malformed(log, "a pair's address in word 2")
    return log.data[2 * 32 + 12 : 3 * 32]


def _traded(log: RawLog, at: EventHeader) -> Traded:
    _topics(log, 4)
    w = _words(log, 16)
    if w[2] > 1 or w[3] > 1 or w[4] > 255 or w[15] > 1:
        raise _malformed(log, "flags of 0 or 1")
    requested, tokens, curve_eth, protocol, creator, launch, refund, sold, raised = w[6:15]
    return Traded(
        at,
        w[0],
        w[1],
        _topic_address(log, 1),
        _topic_address(log, 2),
        _topic_address(log, 3),
        w[2] == 1,
        w[3] == 1,
        w[4],
        log.data[5 * 32 : 6 * 32],
        requested,
        tokens,
        curve_eth,
        protocol,
        creator,
        launch,
        refund,
        sold,
        raised,
        w[15] == 1,
    )


def _completed(log: RawLog, at: EventHeader) -> Completed:
    _topics(log, 2)
    event_seq, seq, sold, raised = _words(log, 4)
    return Completed(at, event_seq, seq, _topic_address(log, 1), sold, raised)


def _reopened(log: RawLog, at: EventHeader) -> Reopened:
    _topics(log, 2)
    event_seq, seq = _words(log, 2)
    return Reopened(at, event_seq, seq, _topic_address(log, 1))


def _graduated(log: RawLog, at: EventHeader) -> Graduated:
    _topics(log, 3)
    event_seq, seq, *amounts = _words(log, 9)
    return Graduated(at, event_seq, seq, _topic_address(log, 1), _topic_address(log, 2), *amounts)


def _pool_synced(log: RawLog, at: EventHeader, token: bytes, *, token_first: bool) -> PoolSynced:
    _topics(log, 1)
    reserve0, reserve1 = _words(log, 2)
    _below(log, 112, reserve0, reserve1)
    reserves = (reserve0, reserve1) if token_first else (reserve1, reserve0)
    return PoolSynced(at, token, *reserves)


def _pool_swapped(
    log: RawLog, at: EventHeader, token: bytes, *, token_first: bool, seller: bytes
) -> PoolSwapped:
    in0, in1, out0, out1 = _words(log, 4)
    net0, net1 = in0 - out0, in1 - out1
    tokens, eth = (net0, net1) if token_first else (net1, net0)
    is_buy = tokens < 0
    recipient = _topic_address(log, 2)
    trader = recipient if is_buy else seller
    return PoolSwapped(at, token, trader, recipient, is_buy, abs(tokens), abs(eth))


def _transferred(log: RawLog, at: EventHeader) -> Transferred:
    _topics(log, 3)
    (amount,) = _words(log, 1)
    return Transferred(at, log.address, _topic_address(log, 1), _topic_address(log, 2), amount)


def _administered(name: str, indexed: tuple[str, ...], plain: tuple[str, ...]) -> _Read:
    # All of them: eventSeq first in the data, indexed arguments are addresses, plain ones
    # numbers.
    def read(log: RawLog, at: EventHeader) -> Administered:
        _topics(log, 1 + len(indexed))
        words = _words(log, 1 + len(plain))
        addresses = [
            (argument, "0x" + _topic_address(log, index).hex())
            for index, argument in enumerate(indexed, 1)
        ]
        numbers = [(argument, str(w)) for argument, w in zip(plain, words[1:], strict=True)]
        return Administered(at, words[0], name, tuple(addresses + numbers))

    return read


_VERSION_1: dict[bytes, _Read] = {
    TOPIC_OF["CurveAdded"]: _curve_added,
    TOPIC_OF["TokenCreated"]: _token_created,
    TOPIC_OF["Trade"]: _traded,
    TOPIC_OF["Completed"]: _completed,
    **{
        TOPIC_OF[name]: _administered(name, indexed, plain)
        for name, indexed, plain in (
            ("ProtocolFeesClaimed", ("recipient",), ("amount",)),
            ("CreatorFeesClaimed", ("creator", "recipient"), ("amount",)),
            ("FeesChanged", (), _FEE_NAMES),
            ("LaunchesPausedChanged", (), ("paused",)),
            ("OwnerProposed", ("owner", "proposed"), ()),
            ("OwnerChanged", ("previous", "owner"), ()),
        )
    },
}
_VERSION_2 = _VERSION_1 | {
    TOPIC_OF["Reopened"]: _reopened,
    TOPIC_OF["Graduated"]: _graduated,
}
_READERS: dict[int, dict[bytes, _Read]] = {1: _VERSION_1, 2: _VERSION_2}
"""By the launchpad's version in the registry. A version that is not here cannot be followed."""
