"""What every answer is made of: the envelope, lists, and the spellings of values."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from gateway.fields import Strict

T = TypeVar("T")

Decimal = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]{0,35}[1-9])?$")]
"""An exact decimal in whole units, zeros trimmed; prices have up to 36 decimals."""

AddressText = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{40}$")]
HashText = Annotated[str, Field(pattern="^0x[0-9a-f]{64}$")]
HexText = Annotated[str, Field(pattern="^0x[0-9a-f]*$")]
Phase = Literal["curve", "graduating", "graduated", "reopened"]


class Empty(Strict):
    """No fields."""


class ErrorBody(Strict):
    """A stable code, a sentence, and what helps to act on it."""

    code: str
    message: str
    details: dict[str, Any] | None = None


class ErrorReply(Strict):
    """The seed's ErrorResponse."""

    success: Literal[False]
    error: ErrorBody
    timestamp: str


class Reply(Strict, Generic[T]):
    """The envelope of every success."""

    success: Literal[True]
    data: T
    timestamp: str


class Page(Strict, Generic[T]):
    """A page of a list; `total` is counted to a bound."""

    items: list[T]
    page: int
    limit: int
    total: int


class History(Page[T], Generic[T]):
    """`cursor` begins the next page; null on the last."""

    cursor: str | None


class Cursored(Strict, Generic[T]):
    """`cursor` begins the next page; null on the last."""

    items: list[T]
    limit: int
    cursor: str | None
