"""What goes over Socket.IO, as `asyncapi` describes it: calls, topics, and their models.

A new call or message without a row fails a test.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from gateway import models as m
from gateway import replies as r
from gateway.described import MARKET, QUOTE, STORE
from gateway.replies import realtime as p


@dataclass(frozen=True, slots=True)
class Call:
    """What a client asks, by acknowledgement; `codes` beside the common ones."""

    name: str
    summary: str
    body: type[BaseModel]
    reply: Any
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """What is pushed under an event's name; `model` is the whole message."""

    name: str
    summary: str
    model: Any


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic; `{address}` in its name is a parameter."""

    name: str
    address: str
    summary: str
    pushes: tuple[Push, ...]


@dataclass(frozen=True, slots=True)
class Door:
    """A door that messages go through, with its server's protocol and path."""

    name: str
    protocol: str
    path: str
    summary: str
    calls: tuple[Call, ...]
    topics: tuple[Topic, ...]


COMMON = ("invalid_request", "rate_limited", "overloaded")
_PRICE = Push("price", "The market changed.", p.Pushed[p.PriceData])
_TRANSACTION = Push("transaction", "A launch or a trade.", p.Pushed[p.TransactionEvent])
_RETRACTED = Push("retracted", "A transaction did not come true.", p.Pushed[p.RetractedData])
_GAP = Push("gap", "Something may be missing: subscribe again, for a snapshot.", p.Gap)
_TOPIC = ("invalid_address", "forbidden", "token_not_found", *MARKET, *STORE)

SOCKETIO = Door(
    name="socketio",
    protocol="socketio",
    path="/socket.io/",
    summary=(
        "Socket.IO 5 on the API's port, by polling or WebSocket. Each call is an event with one"
        " object and an acknowledgement, which is the REST envelope. What is pushed on a topic"
        " comes as an event with one object."
    ),
    calls=(
        Call("quote", "What a trade would give now.", m.QuoteBody, r.QuoteData, QUOTE),
        Call(
            "subscribe",
            "Register, and where the topic stands: its snapshot, or what was missed `since`.",
            m.SubscribeRequest,
            r.SubscriptionData,
            _TOPIC,
        ),
        Call(
            "unsubscribe",
            "Leave a topic.",
            m.UnsubscribeRequest,
            r.SubscriptionData,
            ("invalid_address",),
        ),
        Call(
            "authenticate",
            "Log in on a socket that is open already.",
            m.AuthenticateRequest,
            p.AuthenticatedData,
            ("unauthorized", "forbidden"),
        ),
    ),
    topics=(
        Topic(
            "token",
            "token:{address}",
            "One market. Numbered by its owner; `price` may stand for several changes.",
            (
                _PRICE,
                _TRANSACTION,
                Push("graduation", "The market changed its phase.", p.Pushed[p.PriceData]),
                _RETRACTED,
                Push("status", "Halted, or served again.", p.Pushed[p.StatusData]),
                _GAP,
            ),
        ),
        Topic(
            "tokens",
            "tokens",
            "The list of tokens, sampled: about once a second what changed.",
            (Push("tokens", "Tokens that changed.", p.Pushed[p.ListData]), _GAP),
        ),
        Topic("trades", "trades", "Every launch and trade.", (_TRANSACTION, _RETRACTED, _GAP)),
        Topic(
            "user",
            "user:{address}",
            "A wallet's own transactions and transfers; only for the one that is logged in.",
            (
                Push("user", "Something of the wallet's.", p.Pushed[p.UserEvent]),
                Push("user", "The login has ended.", p.SignedOut),
                _GAP,
            ),
        ),
    ),
)
