"""The stream door's messages: what a frame asks, and the text of every answer. Pure.

A frame holds one JSON object or an array of them. Asked is `{"v":1,"op":…,"id":…}` with the
fields of its op; answered `{"v":1,"op":…,"id":…,"ok":true,"data":{…}}` or
`{…,"ok":false,"error":{"code","message","details"}}`. Quotes of one array are answered by one
array in their order; everything else by an object of its own. Amounts are integers of base
units as strings in fields named `…Wei`; prices, named `…E18`, are wei a whole token times 1e18.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from curves.curve import AMOUNT_MAX
from curves.values import value
from engine.errors import CallerError
from engine.limits import STREAM_OPS_PER_FRAME_MAX
from engine.messages import AsOf, QuoteReply, QuoteRequest
from engine.text import address
from gateway.addresses import parse_address
from gateway.auth import TOKEN_CHARACTERS_MAX
from gateway.models import TOPIC_CHARACTERS_MAX
from gateway.units import SLIPPAGE_BPS_DEFAULT, SLIPPAGE_BPS_MAX

VERSION = 1
ID_CHARACTERS_MAX = 64
GENERATION_CHARACTERS_MAX = 80
_JSON_INTEGER_MAX = 2**53 - 1
_AMOUNT = re.compile(r"[0-9]{1,78}", re.ASCII)
_SIDES = {"buy": True, "sell": False}
_MODES = {"exactIn": False, "exactOut": True}
_FINALITIES = {"preconfirmed": False, "sealed": True}

Id = int | str | None


@value
class Quote:
    """`quote`: what a trade would give."""

    id: Id
    request: QuoteRequest


@dataclass(frozen=True, slots=True)
class Subscribe:
    """`subscribe`: a topic from now on, or from behind `since` of its `generation`."""

    id: Id
    topic: str
    since: int | None
    generation: str | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """`unsubscribe`: no more of a topic."""

    id: Id
    topic: str


@dataclass(frozen=True, slots=True)
class Ping:
    """`ping`: is the door there."""

    id: Id


@dataclass(frozen=True, slots=True)
class Authenticate:
    """`authenticate`: by an access token or an API key, one of them."""

    id: Id
    token: str | None
    api_key: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """One object of a frame that asks nothing that we know."""

    id: Id
    op: str
    error: CallerError


Op = Quote | Subscribe | Unsubscribe | Ping | Authenticate | Fault


def read(frame: bytes | memoryview) -> tuple[list[Op], bool]:
    """(what a frame asks, whether it was an array). What is wrong with one object is a `Fault`
    in its place. Raises CallerError("invalid_request") for a frame that is no such JSON.
    """
    try:
        found = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise CallerError("invalid_request", f"Expected JSON in UTF-8: {error.msg}") from error
    if isinstance(found, dict):
        return [_read_one(found)], False
    if not isinstance(found, list) or not 0 < len(found) <= STREAM_OPS_PER_FRAME_MAX:
        expected = f"an object or an array of 1 to {STREAM_OPS_PER_FRAME_MAX}"
        raise CallerError("invalid_request", f"Expected {expected}")
    return [_read_one(one) for one in found], True


def _read_one(found: Any) -> Op:
    return read_plain(found) or read_any(found)


def read_plain(found: Any) -> Quote | None:
    """A sound quote with no more than a side, a mode and an amount, as nearly all are; None: let
    `read_any` see. What it does read, that would have read as the same.
    """
    # What is missing or of another kind is a KeyError or a TypeError.
    try:
        version, id, amount = found["v"], found["id"], found["amountWei"]
        if len(found) != len(_PLAIN) or found["op"] != "quote" or version != VERSION:
            return None
        if type(version) is not int or type(id) is not int or not _AMOUNT.fullmatch(amount):
            return None
        wei = int(amount)
        if not 0 < wei <= AMOUNT_MAX or not -_JSON_INTEGER_MAX <= id <= _JSON_INTEGER_MAX:
            return None
        token, side, mode = _token(found["token"]), _SIDES[found["side"]], _MODES[found["mode"]]
        request = QuoteRequest(token, side, mode, wei, SLIPPAGE_BPS_DEFAULT)
    except (CallerError, KeyError, TypeError):
        return None
    return Quote(id, request)


def read_any(found: Any) -> Op:
    """Whatever one object of a frame asks, or what is wrong with it."""
    if not isinstance(found, dict):
        error = CallerError("invalid_request", "Expected an object")
        return Fault(None, "error", error)
    op, id = found.get("op"), found.get("id")
    try:
        if not _is_id(id):
            expected = f"id: Expected an integer or up to {ID_CHARACTERS_MAX} characters"
            id = None
            raise CallerError("invalid_request", expected)
        if found.get("v", VERSION) != VERSION or found.get("v") is True:
            raise CallerError("invalid_request", f"v: Expected {VERSION}")
        if not isinstance(op, str) or op not in _OPS:
            raise CallerError("invalid_request", f"op: Expected one of {', '.join(_OPS)}")
        fields, parse = _OPS[op]
        if not found.keys() <= fields:
            unknown = min(found.keys() - fields)[:40]
            raise CallerError("invalid_request", f"{unknown}: Expected a field of {op}")
        return parse(id, found)
    except CallerError as error:
        return Fault(id, op if isinstance(op, str) and op in _OPS else "error", error)


def _is_id(id: Any) -> bool:
    if isinstance(id, str):
        return len(id) <= ID_CHARACTERS_MAX
    return id is None or (type(id) is int and abs(id) <= _JSON_INTEGER_MAX)


def _quote(id: Id, found: dict[str, Any]) -> Op:
    return Quote(
        id,
        QuoteRequest(
            _token(found.get("token")),
            _choice(found, "side", _SIDES),
            _choice(found, "mode", _MODES) if "mode" in found else False,
            _amount(found.get("amountWei")),
            _slippage(found["slippageBps"]) if "slippageBps" in found else SLIPPAGE_BPS_DEFAULT,
            _whole(found, "forBlock"),
            _choice(found, "finality", _FINALITIES) if "finality" in found else False,
        ),
    )


def _subscribe(id: Id, found: dict[str, Any]) -> Op:
    topic = _text(found, "topic", TOPIC_CHARACTERS_MAX)
    generation = found.get("generation")
    if generation is not None:
        generation = _text(found, "generation", GENERATION_CHARACTERS_MAX)
    return Subscribe(id, topic, _whole(found, "since"), generation)


def _unsubscribe(id: Id, found: dict[str, Any]) -> Op:
    return Unsubscribe(id, _text(found, "topic", TOPIC_CHARACTERS_MAX))


def _ping(id: Id, found: dict[str, Any]) -> Op:
    return Ping(id)


def _authenticate(id: Id, found: dict[str, Any]) -> Op:
    if ("token" in found) == ("apiKey" in found):
        raise CallerError("invalid_request", "Expected one of token and apiKey")
    if "token" in found:
        return Authenticate(id, _text(found, "token", TOKEN_CHARACTERS_MAX), None)
    return Authenticate(id, None, _text(found, "apiKey", TOKEN_CHARACTERS_MAX))


_HEAD = {"v", "op", "id"}
_PLAIN = _HEAD | {"token", "side", "mode", "amountWei"}
_QUOTE_FIELDS = {"token", "side", "mode", "amountWei", "slippageBps", "forBlock", "finality"}
_OPS = {
    "quote": (_HEAD | _QUOTE_FIELDS, _quote),
    "subscribe": (_HEAD | {"topic", "since", "generation"}, _subscribe),
    "unsubscribe": (_HEAD | {"topic"}, _unsubscribe),
    "ping": (_HEAD, _ping),
    "authenticate": (_HEAD | {"token", "apiKey"}, _authenticate),
}


def _token(value: Any) -> bytes:
    if not isinstance(value, str):
        raise CallerError("invalid_address", "token: Expected a string")
    return _parsed_address(value)


@lru_cache(maxsize=65_536)
def _parsed_address(value: str) -> bytes:
    # A bot asks about the same few tokens again and again.
    try:
        return parse_address(value)
    except CallerError as error:
        raise CallerError(error.code, f"token: {error.message}") from error


def _amount(value: Any) -> int:
    if not isinstance(value, str) or _AMOUNT.fullmatch(value) is None:
        expected = "a string of digits: base units, no point, no sign"
        raise CallerError("invalid_amount", f"amountWei: Expected {expected}")
    amount = int(value)
    if amount > AMOUNT_MAX:
        raise CallerError("amount_too_large", "amountWei: Expected at most 2^112 - 1")
    if amount == 0:
        raise CallerError("invalid_amount", "amountWei: Expected an amount above zero")
    return amount


def _slippage(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= SLIPPAGE_BPS_MAX:
        expected = f"a whole number of 0 to {SLIPPAGE_BPS_MAX} basis points"
        raise CallerError("invalid_slippage", f"slippageBps: Expected {expected}")
    return value


def _choice(found: Mapping[str, Any], name: str, known: Mapping[str, bool]) -> bool:
    value = found.get(name)
    if not isinstance(value, str) or value not in known:
        raise CallerError("invalid_request", f"{name}: Expected {' or '.join(known)}")
    return known[value]


def _whole(found: Mapping[str, Any], name: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _JSON_INTEGER_MAX:
        raise CallerError("invalid_request", f"{name}: Expected a whole number")
    return value


def _text(found: Mapping[str, Any], name: str, characters_max: int) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= characters_max:
        raise CallerError("invalid_request", f"{name}: Expected 1 to {characters_max} characters")
    return value


# ------------------------------------------------------------------------------- answers


def quote_answer(id: Id, reply: QuoteReply) -> bytes:
    """The answer to `quote`. Written by hand: it is most of what the door does."""
    asked = _asked_text(reply.token, reply.is_buy, reply.exact_out)
    stands = _standing_text(
        reply.as_of, reply.for_block, until=reply.exact_until_block, phase=reply.phase
    )
    return (
        f'{{"v":1,"op":"quote","id":{_id_text(id)},"ok":true,"data":{{{asked},'
        f'"amountInWei":"{reply.amount_in}","amountOutWei":"{reply.amount_out}",'
        f'"fees":{{"protocolWei":"{reply.protocol_fee}","creatorWei":"{reply.creator_fee}",'
        f'"launchWei":"{reply.launch_fee}"}},'
        f'"spotPriceE18":"{reply.spot_price_e18}",'
        f'"executionPriceE18":"{reply.execution_price_e18}",'
        f'"priceImpactBps":{reply.price_impact_bps},'
        f'"{"maxInWei" if reply.exact_out else "minOutWei"}":"{reply.bound}",'
        f'"clipped":{"true" if reply.clipped else "false"},'
        f'"spentWei":"{reply.eth if reply.is_buy else reply.tokens}",'
        f'"refundWei":"{reply.refund}",'
        f"{stands}}}}}"
    ).encode()


@lru_cache(maxsize=65_536)
def _asked_text(token: bytes, is_buy: bool, exact_out: bool) -> str:
    side, mode = "buy" if is_buy else "sell", "exactOut" if exact_out else "exactIn"
    return f'"token":"{address(token)}","side":"{side}","mode":"{mode}"'


@lru_cache(maxsize=16_384)
def _standing_text(of: AsOf, for_block: int, *, until: int | None, phase: str) -> str:
    # The same for all quotes of a market until it changes, or a block comes.
    block_hash = f'"0x{of.block_hash.hex()}"' if of.block_hash is not None else "null"
    return (
        f'"forBlock":{for_block},"exactUntilBlock":{"null" if until is None else until},'
        f'"phase":"{phase}",'
        f'"asOf":{{"blockNumber":{of.block_number},"blockHash":{block_hash},'
        f'"logIndex":{of.log_index},"status":"{of.status}",'
        f'"version":[{of.version[0]},{of.version[1]}]}}'
    )


def _id_text(id: Id) -> str:
    if type(id) is int:
        return str(id)
    return "null" if id is None else orjson.dumps(id).decode()


def answer(op: str, id: Id, data: Mapping[str, Any]) -> bytes:
    """The answer to any other op."""
    return orjson.dumps({"v": VERSION, "op": op, "id": id, "ok": True, "data": data})


def refusal(
    op: str, id: Id, *, code: str, message: str, details: Mapping[str, Any] | None = None
) -> bytes:
    """An op that was not done. `op` is `error` where nobody knows what was asked."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details:
        error["details"] = details
    return orjson.dumps({"v": VERSION, "op": op, "id": id, "ok": False, "error": error})


def many(answers: list[bytes]) -> bytes:
    """Answers as one array."""
    return b"[" + b",".join(answers) + b"]"


def framed(payload: bytes) -> bytes:
    """A whole text frame as a server sends it (RFC 6455, 5.2): one final frame, no mask."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
