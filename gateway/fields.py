"""The field types of requests: the door's parsers as pydantic types, with stable codes.

A parser's CallerError becomes pydantic's error of the same code, so that it names its field
and all faults of a request are found at once.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from engine.errors import CallerError
from engine.limits import LINK_CHARACTERS_MAX, PAGE_LIMIT_MAX, PAGE_MAX
from gateway import addresses, links, metadata, units

T = TypeVar("T")

# Overrides of the writing direction: they make one name look like another.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CODE = re.compile(r"[0-9a-z]{3,20}")
_NO_CODES = frozenset({"code", "bind", "tree", "earnings"})  # names of routes beside codes


class Strict(BaseModel):
    """Camel case outside; unknown fields and values of another type are refused."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )


class Query(Strict):
    """A query string: every value is text, unknown names are ignored as HTTP has it."""

    model_config = ConfigDict(extra="ignore")


def parsed(parse: Callable[[str], T], *, otherwise: str) -> Callable[[Any], T]:
    """A validator of strings; a value that is none has the code `otherwise`."""

    def validate(value: Any) -> T:
        if not isinstance(value, str):
            raise _fault(otherwise, f"Expected a string, was {_kind(value)}")
        try:
            return parse(value)
        except CallerError as error:
            raise _fault(error.code, error.message) from error

    return validate


def _fault(code: str, message: str) -> PydanticCustomError:
    # The message is data, not a template: braces in it must stay as they are.
    return PydanticCustomError(code, "{message}", {"message": message})


def _kind(value: Any) -> str:
    kinds = {bool: "a boolean", int: "a number", units.Number: "a number", type(None): "null"}
    return kinds.get(type(value), "another type")


def _slippage(value: Any) -> int:
    try:
        return units.parse_slippage(value)
    except CallerError as error:
        raise _fault(error.code, error.message) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _fault("invalid_request", f"Expected a string, was {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _fault("invalid_request", "Expected text without lone surrogates") from error
    if "\0" in value:
        raise _fault("invalid_request", "Expected text without NUL")
    return metadata.normalise(value)


def _unfit(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter in _DIRECTION


def _line(value: Any) -> str:
    line = _text(value)
    if not line.strip() or any(_unfit(letter) for letter in line):
        raise _fault("invalid_request", "Expected one line of text without control characters")
    return line


def _link(check: Callable[[str], str]) -> Callable[[Any], str]:
    # An empty one is what a form sends of a field that was left alone.
    def validate(value: Any) -> str:
        link = _text(value)
        return parsed(check, otherwise="invalid_link")(link) if link else link

    return validate


def _image(value: Any, info: ValidationInfo) -> str:
    # Only the door knows what it is called itself; `bodies` hands it over.
    own_origin = (info.context or {}).get("own_origin", "")
    return _link(partial(links.image, own_origin=own_origin))(value)


def _whole(lowest: int, highest: int) -> Callable[[Any], int]:
    digits_max = len(str(highest))

    def validate(value: Any) -> int:
        plain = isinstance(value, str) and value.isascii() and value.isdigit()
        if plain and len(value) <= digits_max and lowest <= int(value) <= highest:
            return int(value)
        raise _fault("invalid_request", f"Expected a whole number of {lowest} to {highest}")

    return validate


def _boolean(value: Any) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    raise _fault("invalid_request", "Expected true or false")


def _cursor(value: Any) -> tuple[int, int, int]:
    parts = value.split(".") if isinstance(value, str) and value.isascii() else []
    if len(parts) != 3 or not all(part.isdigit() and len(part) <= 9 for part in parts):
        raise _fault("invalid_request", "Expected a cursor of an earlier page")
    block, tx_index, log_index = (int(part) for part in parts)
    return block, tx_index, log_index


def parse_code(value: str) -> str:
    """A referral code: 3 to 20 letters and digits; its case does not count. It fits into a
    trade's tag. Raises CallerError("invalid_request").
    """
    code = value.lower() if value.isascii() else ""  # the Kelvin sign is a small k
    if _CODE.fullmatch(code) is None or code in _NO_CODES:
        raise CallerError("invalid_request", "Expected 3 to 20 letters and digits")
    return code


_ADDRESS_SCHEMA = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
_AMOUNT_SCHEMA = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,18})?$"}
_HEX_SCHEMA = {"type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$"}

Address = Annotated[
    bytes,
    BeforeValidator(parsed(addresses.parse_address, otherwise="invalid_address")),
    WithJsonSchema(_ADDRESS_SCHEMA),
]
Amount = Annotated[
    int,
    BeforeValidator(parsed(units.parse_amount, otherwise="invalid_amount")),
    WithJsonSchema(_AMOUNT_SCHEMA),
]
Slippage = Annotated[
    int,
    BeforeValidator(_slippage),
    WithJsonSchema({"type": ["number", "string"], "minimum": 0, "maximum": 50, "default": 1}),
]
Code = Annotated[
    str,
    BeforeValidator(parsed(parse_code, otherwise="invalid_request")),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Za-z]{3,20}$"}),
]
Text = Annotated[str, BeforeValidator(_text)]
Line = Annotated[str, BeforeValidator(_line)]
_LINK_SCHEMA = {"type": "string", "maxLength": LINK_CHARACTERS_MAX}
Website = Annotated[str, BeforeValidator(_link(links.website)), WithJsonSchema(_LINK_SCHEMA)]
Telegram = Annotated[str, BeforeValidator(_link(links.telegram)), WithJsonSchema(_LINK_SCHEMA)]
Twitter = Annotated[str, BeforeValidator(_link(links.twitter)), WithJsonSchema(_LINK_SCHEMA)]
ImageLink = Annotated[str, BeforeValidator(_image), WithJsonSchema(_LINK_SCHEMA)]
Boolean = Annotated[bool, BeforeValidator(_boolean), WithJsonSchema({"type": "boolean"})]
Cursor = Annotated[
    tuple[int, int, int],
    BeforeValidator(_cursor),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}$"}),
]


def _whole_number(highest: int) -> Any:
    # From 1 up; what the schema says of it.
    schema = {"type": "integer", "minimum": 1, "maximum": highest}
    return Annotated[int, BeforeValidator(_whole(1, highest)), WithJsonSchema(schema)]


Page = _whole_number(PAGE_MAX)
RowNumber = _whole_number(2**53 - 1)  # as far as JSON's numbers are exact everywhere
Limit = _whole_number(PAGE_LIMIT_MAX)
Age = _whole_number(86_400 * 30)
Resolution = _whole_number(1_440)
BlockNumber = Annotated[int, Field(ge=0, le=2**53 - 1)]


def hex_of(bytes_max: int) -> Any:
    """A field of bytes in 0x-hex."""

    def parse(value: str) -> bytes:
        return addresses.parse_hex(value, bytes_max=bytes_max)

    return Annotated[
        bytes,
        BeforeValidator(parsed(parse, otherwise="invalid_request")),
        WithJsonSchema(_HEX_SCHEMA),
    ]


Side = Literal["buy", "sell"]
