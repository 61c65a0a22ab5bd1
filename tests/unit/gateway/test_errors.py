"""Errors: every code has its status, and nothing internal gets out."""

import orjson
import pytest
from aiohttp import web

from engine.errors import (
    CALLER_CODES,
    TRANSIENT_CODES,
    CallerError,
    ConsistencyError,
    RiseCurveError,
    TransientError,
)
from engine.messages import Refusal
from gateway.errors import INTERNAL, STATUS, failure, public, raise_refusal, response_of, success


def body_of(response: web.Response) -> dict[str, object]:
    assert isinstance(response.body, bytes)
    found: dict[str, object] = orjson.loads(response.body)
    return found


def test_table_has_every_code_and_no_other() -> None:
    assert STATUS.keys() == CALLER_CODES | TRANSIENT_CODES | {INTERNAL}
    assert all(400 <= STATUS[code] < 600 for code in CALLER_CODES)
    assert {STATUS[code] for code in TRANSIENT_CODES} == {503}
    assert [code for code, status in STATUS.items() if status == 500] == [INTERNAL]


@pytest.mark.parametrize("code", sorted(CALLER_CODES | TRANSIENT_CODES))
def test_error_with_a_code_has_its_status_and_shape(code: str) -> None:
    kind = CallerError if code in CALLER_CODES else TransientError
    response = response_of(kind(code, "Expected this, was that", {"more": 1}))
    assert response.status == STATUS[code]
    body = body_of(response)
    assert body["success"] is False
    assert body["error"] == {
        "code": code,
        "message": "Expected this, was that",
        "details": {"more": 1},
    }
    assert ("Retry-After" in response.headers) == (response.status in (429, 503))


@pytest.mark.parametrize(
    "error",
    [
        ConsistencyError("seq_gap", "internal"),
        TransientError("actor_died", "internal"),
        RiseCurveError(INTERNAL, "internal"),
        KeyError("internal"),
        AssertionError("internal"),
        RecursionError("internal"),
    ],
)
def test_error_that_is_a_bug_is_a_bare_500(error: Exception) -> None:
    assert public(error) is None
    response = response_of(error)
    assert response.status == 500
    assert "internal " not in str(body_of(response)["error"])
    assert "seq_gap" not in str(body_of(response)) and "actor_died" not in str(body_of(response))


def test_timeout_is_overloaded() -> None:
    assert response_of(TimeoutError()).status == 503


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "invalid_request"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "too_large"),
        (web.HTTPBadRequest(), 400, "invalid_request"),
    ],
)
def test_error_of_the_server_has_our_shape(
    error: web.HTTPException, status: int, code: str
) -> None:
    response = response_of(error)
    body = body_of(response)
    assert (response.status, body["error"]["code"]) == (status, code)  # type: ignore[index]


def test_refusal_raises_by_blame() -> None:
    for code, kind in (
        ("zero_output", CallerError),
        ("stale_chain", TransientError),
        ("never_heard", ConsistencyError),
    ):
        with pytest.raises(kind):
            raise_refusal(Refusal(code, "Expected this"))


def test_envelopes_carry_a_timestamp_in_utc() -> None:
    for envelope in (success({}), failure("x", "y")):
        assert envelope["timestamp"].endswith("Z") and len(envelope["timestamp"]) == 24
    assert "details" not in failure("x", "y")["error"]
