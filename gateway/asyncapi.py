"""AsyncAPI 3.0 of the doors that push, from the models that validate and describe.

Each door is a `pushes.Door`; one that is added stands in `DOORS` and needs nothing here.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.codes import MEANINGS
from gateway.errors import STATUS
from gateway.pushes import COMMON, SOCKETIO, Call, Door, Push, Topic
from gateway.replies import ErrorReply, Reply
from gateway.units import SLIPPAGE_BPS_DEFAULT

VERSION = "1"
DOORS: tuple[Door, ...] = (SOCKETIO,)
"""The stream door joins here."""

_REFERENCE = "#/components/schemas/{model}"
_ADDRESS = {"description": "An address; any spelling, answered in lower case."}

Json = dict[str, Any]
Names = Mapping[tuple[Any, JsonSchemaMode], Json]


@cache
def document() -> Json:
    """The whole document; do not change it."""
    schemas, names = _schemas()
    channels: Json = {}
    operations: Json = {}
    messages: Json = {}
    for door in DOORS:
        _add_calls(door, names, channels=channels, operations=operations, messages=messages)
        for topic in door.topics:
            _add_topic(
                door, topic, names, channels=channels, operations=operations, messages=messages
            )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "risecurve realtime",
            "version": VERSION,
            "license": {"name": "MIT"},
            "description": _description(),
        },
        "defaultContentType": "application/json",
        "servers": {door.name: _server(door) for door in DOORS},
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": schemas,
            "messages": messages,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "As `auth.token` of the handshake, or by `authenticate`.",
                }
            },
        },
    }


def reply_of(call: Call) -> Any:
    """The envelope of a call's success."""
    kind: Any = call.reply
    return Reply[kind]


def _schemas() -> tuple[Json, Names]:
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ErrorReply, "serialization")]
    for door in DOORS:
        for call in door.calls:
            wanted += [(call.body, "validation"), (reply_of(call), "serialization")]
        pushes = [push for topic in door.topics for push in topic.pushes]
        wanted += [(push.model, "serialization") for push in pushes]
    names, found = models_json_schema(
        list(dict.fromkeys(wanted)), by_alias=True, ref_template=_REFERENCE
    )
    schemas: Json = found["$defs"]
    schemas["ErrorBody"]["properties"]["code"]["enum"] = sorted(STATUS)
    for schema in schemas.values():
        slippage = schema.get("properties", {}).get("slippage", {})
        if "default" in slippage:
            slippage["default"] = SLIPPAGE_BPS_DEFAULT // 100  # inside it is in basis points
    return schemas, names


def _add_calls(
    door: Door, names: Names, *, channels: Json, operations: Json, messages: Json
) -> None:
    channel = f"{door.name}Calls"
    reply = f"{door.name}Replies"
    asked, answered = {}, {"failure": {"$ref": "#/components/messages/failure"}}
    messages["failure"] = _message(
        "failure", "A stable code, and a sentence.", names[ErrorReply, "serialization"]
    )
    for call in door.calls:
        request, answer = f"{call.name}Request", f"{call.name}Reply"
        messages[request] = _message(call.name, call.summary, names[call.body, "validation"])
        codes = ", ".join(f"`{code}`" for code in sorted({*call.codes, *COMMON}))
        messages[answer] = _message(
            call.name, f"Acknowledgement of `{call.name}`.", names[reply_of(call), "serialization"]
        )
        asked[request] = {"$ref": f"#/components/messages/{request}"}
        answered[answer] = {"$ref": f"#/components/messages/{answer}"}
        operations[call.name] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": call.summary,
            "description": f"Codes: {codes}.",
            "messages": [{"$ref": f"#/channels/{channel}/messages/{request}"}],
            "reply": {
                "channel": {"$ref": f"#/channels/{reply}"},
                "messages": [
                    {"$ref": f"#/channels/{reply}/messages/{answer}"},
                    {"$ref": f"#/channels/{reply}/messages/failure"},
                ],
            },
        }
    servers = [{"$ref": f"#/servers/{door.name}"}]
    for name, found, summary in (
        (channel, asked, "What a client asks; the event's name is the message's."),
        (reply, answered, "The acknowledgement of what was asked."),
    ):
        channels[name] = {
            "address": None,
            "summary": summary,
            "servers": servers,
            "messages": found,
        }


def _add_topic(
    door: Door,
    topic: Topic,
    names: Names,
    *,
    channels: Json,
    operations: Json,
    messages: Json,
) -> None:
    held: Json = {}
    for push in topic.pushes:
        name = _push_name(topic, push)
        messages[name] = _message(push.name, push.summary, names[push.model, "serialization"])
        held[name] = {"$ref": f"#/components/messages/{name}"}
    channels[topic.name] = {
        "address": topic.address,
        "summary": topic.summary,
        "servers": [{"$ref": f"#/servers/{door.name}"}],
        "messages": held,
    } | ({"parameters": {"address": _ADDRESS}} if "{address}" in topic.address else {})
    operations[f"push{topic.name.capitalize()}"] = {
        "action": "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.summary,
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{name}"} for name in held],
    } | ({"security": [_security()]} if topic.name == "user" else {})


def _push_name(topic: Topic, push: Push) -> str:
    # One event's name may have messages of several kinds.
    same = [one for one in topic.pushes if one.name == push.name]
    number = "" if same[0] is push else str(same.index(push) + 1)
    return f"{topic.name}{push.name.capitalize()}{number}"


def _message(name: str, summary: str, schema: Json) -> Json:
    return {"name": name, "title": name, "summary": summary, "payload": schema}


def _server(door: Door) -> Json:
    return {
        "host": "{host}",
        "protocol": door.protocol,
        "pathname": door.path,
        "description": door.summary,
        "variables": {"host": {"default": "localhost:3000"}},
    }


def _security() -> Json:
    return {"$ref": "#/components/securitySchemes/bearer"}


def _description() -> str:
    rows = [f"| `{code}` | {meaning} |" for code, meaning in MEANINGS.items()]
    table = "\n".join(["| code | meaning |", "|---|---|", *rows])
    return (
        "Amounts are decimal strings in whole units, addresses EIP-55. A subscription registers"
        " first and takes its snapshot then; what comes twice is known by `seq` and"
        " `asOf.version`. A new `generation`, or a hole in `seq`, asks to subscribe again; what"
        " has `fromSeq` accounts for all numbers from there to its `seq`. A socket that"
        " sends too fast is answered `rate_limited` with `details.retryAfterSeconds`, and"
        " ended if it goes on. Codes of errors:\n\n" + table
    )
