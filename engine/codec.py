"""Frozen dataclasses to JSON-ready values and back, without loss.

bytes become lower-case hex without prefix, integers decimal strings (JSON numbers end at
2**53), tuples lists; None, bool and str stay. The type hints of the class decide how a
value is read back, so the text carries no class names.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

T = TypeVar("T")
Read = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


PLAIN: Mapping[type, Callable[[Any], Any]] = {
    types.NoneType: _same,
    bool: _same,
    str: _same,
    int: str,
    bytes: bytes.hex,
}
"""How `encode` spells values that hold no others."""


def encode(value: Any) -> Any:
    """A JSON-ready value. Raises TypeError for a type that has no spelling here."""
    plain = PLAIN.get(type(value))
    if plain is not None:
        return plain(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _hints(type(value))}
    raise TypeError(f"Expected a message, was {type(value).__name__}")


def decode(kind: type[T], value: Any) -> T:
    """The dataclass `kind` from what `encode` made. Raises KeyError, TypeError, ValueError."""
    readers = _readers(typing.cast(Any, kind))
    return kind(**{name: read(value[name]) for name, read in readers})


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return {field.name: hints[field.name] for field in fields}


@cache
def _readers(kind: type) -> tuple[tuple[str, Read], ...]:
    # Once a class: a shard that recovers reads a million markets.
    return tuple((name, _reader(hint)) for name, hint in _hints(kind).items())


def _reader(hint: Any) -> Read:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _optional(hint)
    if origin is tuple:
        return _tuple(typing.get_args(hint))
    if hint in _READ_PLAIN:
        return _READ_PLAIN[hint]
    if dataclasses.is_dataclass(hint):
        return partial(decode, typing.cast(type, hint))
    raise TypeError(f"Expected a known type, was {hint}")


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"Expected {kind.__name__}, was {type(value).__name__}")
    return value


_READ_PLAIN: Mapping[Any, Read] = {
    int: int,
    bytes: bytes.fromhex,
    str: partial(_exactly, str),
    bool: partial(_exactly, bool),
}


def _optional(hint: Any) -> Read:
    (plain,) = [arm for arm in typing.get_args(hint) if arm is not types.NoneType]
    read = _reader(plain)
    return lambda value: None if value is None else read(value)


def _tuple(arms: tuple[Any, ...]) -> Read:
    if len(arms) == 2 and arms[1] is Ellipsis:
        read = _reader(arms[0])
        return lambda value: tuple(read(item) for item in value)
    reads = [_reader(arm) for arm in arms]
    return lambda value: tuple(read(item) for read, item in zip(reads, value, strict=True))
