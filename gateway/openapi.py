"""OpenAPI 3.1 of the REST API, from the route table and the models that validate requests.

Pydantic writes JSON Schema 2020-12, which OpenAPI 3.1 takes as it is.
"""

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.codes import MEANINGS
from gateway.described import DESCRIBED, Described
from gateway.errors import STATUS
from gateway.keys import HEADER
from gateway.replies import ErrorReply, Reply
from gateway.routes import API, Access, Route
from gateway.units import SLIPPAGE_BPS_DEFAULT

VERSION = "1"
_REFERENCE = "#/components/schemas/{model}"
_COMMON = ("invalid_request", "forbidden", "rate_limited", "overloaded")
_LOGIN = ("unauthorized",)
_BODY = ("too_large",)

_MEANINGS: dict[int, str] = {
    200: "Done.",
    202: "Sent, and not mined yet.",
    400: "Something in the request is not as it must be.",
    401: "A login is needed, or has ended.",
    403: "Not for this caller.",
    404: "There is no such thing.",
    405: "The path has other methods.",
    408: "It took too long to arrive.",
    409: "It cannot be done as things stand.",
    413: "Too large.",
    415: "Another kind of content is needed.",
    429: "Too often; `Retry-After` says when.",
    501: "Not there yet.",
    503: "It cannot be answered now; the same request may succeed later.",
}

_PATH_SCHEMAS: dict[str, dict[str, Any]] = {
    "address": {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"},
    "hash": {"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"},
    "sid": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "code": {"type": "string", "pattern": "^[0-9A-Za-z]{3,20}$"},
    "id": {"type": "string", "pattern": "^[0-9A-Za-z]{1,80}$"},
}

Json = dict[str, Any]


@cache
def document() -> Json:
    """The whole document; do not change it."""
    schemas, names = _schemas()
    paths: dict[str, Json] = {}
    for route in API:
        described = DESCRIBED[route.method, route.path]
        place = paths.setdefault("/api" + route.path, {})
        place[route.method.lower()] = _operation(route, described, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "risecurve",
            "version": VERSION,
            "description": (
                "Launch and trade tokens on bonding curves of RISE. Amounts are decimal strings"
                " in whole units, addresses EIP-55. `/api/v1/…` is the same as `/api/…`. Every GET"
                " takes `fields`, a list with commas: `data`, or each of its items, then has these"
                " names only; and answers with an `ETag` of its data. A write takes"
                " `Idempotency-Key`. Messages of errors are in"
                " English, Indonesian, Chinese or Spanish by `Accept-Language`; codes are not"
                " translated:\n\n" + _table()
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "key": {"type": "apiKey", "in": "header", "name": HEADER},
            },
        },
    }


def _schemas() -> tuple[Json, Mapping[tuple[Any, JsonSchemaMode], Json]]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ErrorReply, "serialization")]
    for described in DESCRIBED.values():
        wanted.append((reply_of(described), "serialization"))
        wanted += [(one, "validation") for one in (described.body, described.query) if one]
    refs, definitions = models_json_schema(
        list(dict.fromkeys(wanted)), by_alias=True, ref_template=_REFERENCE
    )
    for schema in definitions["$defs"].values():
        for name, one in schema.get("properties", {}).items():
            if name == "slippage" and "default" in one:
                one["default"] = SLIPPAGE_BPS_DEFAULT // 100  # inside it is in basis points
    return definitions["$defs"], refs


def _operation(
    route: Route, described: Described, names: Mapping[tuple[Any, JsonSchemaMode], Json]
) -> Json:
    text = inspect.getdoc(route.handler) or ""
    summary, _, rest = text.partition("\n\n")
    operation: Json = {
        "operationId": _operation_id(route),
        "tags": [route.path.split("/")[1]],
        "summary": " ".join(summary.split()),
        "parameters": _path_parameters(route.path),
        "responses": _responses(route, described, names),
    }
    if rest:
        operation["description"] = " ".join(rest.split())
    if described.query is not None:
        operation["parameters"] += _query_parameters(described.query)
    if described.body is not None:
        schema = names[described.body, "validation"]
        operation["requestBody"] = {
            "required": bool(_required(described.body)),
            "content": {"application/json": {"schema": schema}},
        }
    if described.files:
        operation["requestBody"] = {"required": True, "content": _files(described.files)}
    if route.access is not Access.OPEN:
        operation["security"] = [{"bearer": []}] + ([{"key": []}] if route.scope else [])
    return operation


def _files(types: tuple[str, ...]) -> Json:
    raw = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"image": raw}, "required": ["image"]}
    return {one: {"schema": raw} for one in types} | {"multipart/form-data": {"schema": form}}


def reply_of(described: Described) -> type[BaseModel]:
    """The envelope of a route's success."""
    kind: Any = described.reply
    return Reply[kind]


def _operation_id(route: Route) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", route.path) if word]
    return route.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[name]}
        for name in re.findall(r"\{([a-z]+)\}", path)
    ]


def _query_parameters(model: type[BaseModel]) -> list[Json]:
    schema = model.model_json_schema(by_alias=True, ref_template=_REFERENCE)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _plain(one),
        }
        for name, one in schema.get("properties", {}).items()
    ]


def _plain(schema: Json) -> Json:
    # A query parameter is there or not: null is not a value of it.
    arms = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(arms) == 1:
        schema = arms[0]
    return {name: value for name, value in schema.items() if name not in ("title", "default")}


def _responses(
    route: Route, described: Described, names: Mapping[tuple[Any, JsonSchemaMode], Json]
) -> Json:
    responses: Json = {}
    for status in described.statuses:
        schema = names[reply_of(described), "serialization"]
        responses[str(status)] = _answer(_MEANINGS[status], schema)
    codes = {*described.codes, *_COMMON}
    if route.access is not Access.OPEN or route.path in ("/auth/connect", "/auth/refresh"):
        codes |= {*_LOGIN}
    if route.method != "GET":
        codes |= {*_BODY, "idempotency_conflict", "store_unavailable"}
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(STATUS[code], []).append(code)
    for status, found in sorted(by_status.items()):
        meaning = f"{_MEANINGS[status]} Codes: {', '.join(f'`{code}`' for code in found)}."
        responses[str(status)] = _answer(meaning, names[ErrorReply, "serialization"])
    return responses


def _table() -> str:
    rows = [f"| `{code}` | {STATUS[code]} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| code | status | meaning |", "|---|---|---|", *rows])


def _answer(meaning: str, schema: Json) -> Json:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


def _required(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.is_required()]
