"""Request bodies as values: JSON with its numbers kept exact, checked by a model."""

import json
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel

from engine.errors import CallerError
from gateway.context import context_of
from gateway.units import Number

M = TypeVar("M", bound=BaseModel)

_INTEGER_DIGITS_MAX = 40


def loads(text: str | bytes) -> Any:
    """JSON; fractions and exponents stay text (`Number`). Raises CallerError.

    The standard library's parser, for it hands over the text of a number; 64 KB at most.
    """
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise CallerError("invalid_request", "Expected a JSON body in UTF-8") from error


async def read_body(request: web.Request, model: type[M]) -> M:
    """The body as `model`; an absent one counts as {}.

    Raises CallerError, pydantic.ValidationError, and aiohttp's error of a body too large.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise CallerError("invalid_request", "Expected a body without Content-Encoding")
    raw = await request.read()
    own_origin = context_of(request).settings.public_url
    return model.model_validate(loads(raw) if raw else {}, context={"own_origin": own_origin})


def read_query(request: web.Request, model: type[M]) -> M:
    """The query string as `model`; of a repeated name the first counts."""
    query = request.query
    return model.model_validate({name: query[name] for name in query})


def _integer(text: str) -> int | Number:
    return int(text) if len(text) <= _INTEGER_DIGITS_MAX else Number(text)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"Expected JSON, was {text}")


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=_integer, parse_constant=_refuse_constant)
