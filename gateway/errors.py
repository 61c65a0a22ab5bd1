"""Errors at the doors: each stable code has one HTTP status, every error one shape.

The seed's ErrorResponse: `{success: false, error: {code, message, details}, timestamp}`.
A caller sees codes of `engine.errors` and sentences written for him. Whatever else is raised
is a bug: it is logged once, here, and shows nothing internal.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

import aiohttp
import orjson
import pydantic
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine.errors import (
    CALLER_CODES,
    TRANSIENT_CODES,
    CallerError,
    ConsistencyError,
    RiseCurveError,
    TransientError,
)
from engine.messages import Refusal
from gateway.languages import ENGLISH, spoken

INTERNAL = "internal_error"
RETRY_AFTER_S = 1

STATUS: dict[str, int] = {
    "invalid_address": 400,
    "invalid_amount": 400,
    "amount_too_large": 400,
    "invalid_slippage": 400,
    "invalid_link": 400,
    "invalid_image": 400,
    "invalid_request": 400,
    "below_minimum": 400,
    "above_limit": 400,
    "wrong_chain": 400,
    "unknown_contract": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "token_not_found": 404,
    "not_found": 404,
    "exceeds_sold": 409,
    "zero_output": 409,
    "slippage_exceeded": 409,
    "market_graduating": 409,
    "code_taken": 409,
    "already_referred": 409,
    "referral_refused": 409,
    "upload_timeout": 408,
    "idempotency_conflict": 409,
    "metadata_mismatch": 409,
    "not_enough_liquidity": 409,
    "transfer_ended": 409,
    "too_large": 413,
    "rate_limited": 429,
    "not_implemented": 501,
    **dict.fromkeys(sorted(TRANSIENT_CODES), 503),
    INTERNAL: 500,
}

# What the server itself refuses before a handler runs.
_HTTP_CODES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large"}


def timestamp() -> str:
    """Now, as every envelope has it: ISO 8601 in UTC with milliseconds."""
    return _shown(time.time_ns() // 1_000_000)


@lru_cache(maxsize=1)
def _shown(now_ms: int) -> str:
    # Of thousands of answers a second many are of one millisecond.
    moment = datetime.fromtimestamp(now_ms // 1_000, UTC)
    moment = moment.replace(microsecond=now_ms % 1_000 * 1_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def success(data: Any) -> dict[str, Any]:
    """The envelope of an answer."""
    return {"success": True, "data": data, "timestamp": timestamp()}


def failure(code: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The seed's ErrorResponse."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details:
        error["details"] = dict(details)
    return {"success": False, "error": error, "timestamp": timestamp()}


def raise_refusal(refusal: Refusal) -> NoReturn:
    """An error value of an actor as the error it stands for; never returns."""
    if refusal.code in CALLER_CODES:
        raise CallerError(refusal.code, refusal.message)
    if refusal.code in TRANSIENT_CODES:
        raise TransientError(refusal.code, refusal.message)
    raise ConsistencyError(refusal.code, refusal.message)


def public(error: BaseException) -> RiseCurveError | None:
    """The error as a caller may see it; None for a bug."""
    if isinstance(error, pydantic.ValidationError):
        return from_validation(error)
    if isinstance(error, RiseCurveError):
        return error if error.code in STATUS and error.code != INTERNAL else None
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return TransientError("overloaded", "Expected an answer in time, try again")
    if isinstance(
        error, aiohttp.ClientPayloadError | HttpProcessingError | web.RequestPayloadError
    ):
        return CallerError("invalid_request", "Expected a readable request body")
    return None


def from_validation(error: pydantic.ValidationError) -> CallerError:
    """The first fault that has a code of ours names the error; every fault names its field."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    codes = [fault["type"] for fault in faults if fault["type"] in CALLER_CODES]
    fields = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in faults[:20]
    ]
    where = fields[0]["field"] or "body"
    message = f"{where}: {fields[0]['message']}"
    return CallerError(codes[0] if codes else "invalid_request", message, {"fields": fields})


def response_of(error: BaseException, language: str = ENGLISH) -> web.Response:
    """The HTTP answer of any error. A bug becomes a bare 500; logging it is the caller's."""
    answer = _response_of(error, language)
    answer.headers["Content-Language"] = language
    answer.headers["Vary"] = "Accept-Language"
    return answer


def _response_of(error: BaseException, language: str) -> web.Response:
    if isinstance(error, web.HTTPException):
        return _of_http(error, language)
    known = public(error)
    if known is None:
        bug = failure(INTERNAL, "Something went wrong on our side")
        return json_response(_spoken(bug, language), 500)
    status = STATUS[known.code]
    body = failure(known.code, known.message, known.details)
    answer = json_response(_spoken(body, language), status)
    if status == 503:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    elif status == 429:
        wait_s = (known.details or {}).get("retryAfterSeconds", RETRY_AFTER_S)
        answer.headers["Retry-After"] = str(max(wait_s, RETRY_AFTER_S))
    elif status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _spoken(body: dict[str, Any], language: str) -> dict[str, Any]:
    return body | {"error": spoken(body["error"], language)}


def _of_http(error: web.HTTPException, language: str) -> web.Response:
    code = _HTTP_CODES.get(error.status, "invalid_request")
    body = failure(code, f"Expected a known request, was {error.reason}")
    answer = json_response(_spoken(body, language))
    answer.set_status(error.status)
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


COMPRESSED_HERE_MAX = 65_536
"""Bytes, about 4 ms of work."""

BODY: web.ResponseKey[dict[str, Any]] = web.ResponseKey("body", dict)
"""What was written, for whoever shapes the answer after its handler."""


def json_response(body: Any, status: int = 200) -> web.Response:
    """JSON by orjson."""
    response = web.Response(
        body=dumped(body),
        status=status,
        content_type="application/json",
        # To hand a small body to a thread costs more than to compress it here.
        zlib_executor_size=COMPRESSED_HERE_MAX,
    )
    response[BODY] = body
    return response


def dumped(body: Any) -> bytes:
    """JSON."""
    return orjson.dumps(body)
