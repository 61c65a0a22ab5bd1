"""Frames of `quote` on Socket.IO, read and written by hand. Pure.

`read` knows one shape, the one that programs send by thousands: a text frame with an event on
the default namespace, one object and an acknowledgement's id, `42<id>["quote",{…}]`. Of any
other, and of any fault, it says nothing: None, and the library and `QuoteBody` have the word.
What it does read, they would have read as the same request.
"""

import re
from functools import lru_cache
from typing import Any

import orjson

from engine.errors import CallerError
from engine.messages import QuoteReply, QuoteRequest
from engine.text import address, hex_of, price, units
from gateway import bodies
from gateway.addresses import parse_address
from gateway.units import SLIPPAGE_BPS_DEFAULT, parse_amount, parse_slippage

# An id as programs write it: without leading zeros, exact in any language.
_FRAME = re.compile(r'42(0|[1-9][0-9]{0,14})\["quote",(\{.*\})\]', re.DOTALL)
_FIELDS = {"tokenAddress", "type", "amount", "mode", "slippage", "forBlock", "finality"}
_SIDES = {"buy": True, "sell": False}
_MODES = {"exactIn": False, "exactOut": True}
_FINALITIES = {"preconfirmed": False, "sealed": True}
_JSON_INTEGER_MAX = 2**53 - 1
# A bot asks about the same few tokens again and again.
_address = lru_cache(maxsize=65_536)(parse_address)


def read(frame: str) -> tuple[str, QuoteRequest] | None:
    """(id of the acknowledgement, what is asked), or None: let the library see."""
    match = _FRAME.fullmatch(frame)
    if match is None:
        return None
    try:
        found = orjson.loads(match[2])
        if not found.keys() <= _FIELDS:
            return None
        # A field that is missing or of another kind is a KeyError or a TypeError.
        request = QuoteRequest(
            _address(found["tokenAddress"]),
            _SIDES[found["type"]],
            _MODES[found["mode"]] if "mode" in found else False,
            parse_amount(found["amount"]),
            _slippage(found["slippage"], match[2]) if "slippage" in found else SLIPPAGE_BPS_DEFAULT,
            _block(found["forBlock"]) if "forBlock" in found else None,
            _FINALITIES[found["finality"]] if "finality" in found else False,
        )
    except (CallerError, KeyError, TypeError, orjson.JSONDecodeError):
        return None
    return match[1], request


def _slippage(value: Any, text: str) -> int:
    if isinstance(value, float):
        # Of a fraction its text counts, digit by digit.
        value = bodies.loads(text)["slippage"]
    return parse_slippage(value)


def _block(value: Any) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= _JSON_INTEGER_MAX):
        return value
    raise TypeError("Expected a whole number")


def answer(id: str, reply: QuoteReply, timestamp: str) -> str:
    """The acknowledgement with a quote: the envelope of `view.quote_data`, letter by letter."""
    of = reply.as_of
    block_hash = "null" if of.block_hash is None else f'"{hex_of(of.block_hash)}"'
    until = "null" if reply.exact_until_block is None else reply.exact_until_block
    return (
        f'43{id}[{{"success":true,"data":{{'
        f'"tokenAddress":"{address(reply.token)}",'
        f'"type":"{"buy" if reply.is_buy else "sell"}",'
        f'"mode":"{"exactOut" if reply.exact_out else "exactIn"}",'
        f'"amountIn":"{units(reply.amount_in)}","amountOut":"{units(reply.amount_out)}",'
        f'"fees":{{"protocol":"{units(reply.protocol_fee)}",'
        f'"creator":"{units(reply.creator_fee)}","launch":"{units(reply.launch_fee)}"}},'
        f'"spotPrice":"{price(reply.spot_price_e18)}",'
        f'"executionPrice":"{price(reply.execution_price_e18)}",'
        f'"priceImpactBps":{reply.price_impact_bps},'
        f'"{"maxIn" if reply.exact_out else "minOut"}":"{units(reply.bound)}",'
        f'"clipped":{"true" if reply.clipped else "false"},'
        f'"spent":"{units(reply.eth if reply.is_buy else reply.tokens)}",'
        f'"refund":"{units(reply.refund)}",'
        f'"forBlock":{reply.for_block},"exactUntilBlock":{until},"phase":"{reply.phase}",'
        f'"asOf":{{"blockNumber":{of.block_number},"blockHash":{block_hash},'
        f'"logIndex":{of.log_index},"status":"{of.status}",'
        f'"version":[{of.version[0]},{of.version[1]}]}}}},'
        f'"timestamp":"{timestamp}"}}]'
    )


def acknowledgement(id: str, body: dict[str, Any]) -> str:
    """The acknowledgement with any other envelope."""
    return f"43{id}[{orjson.dumps(body).decode()}]"
