"""Frozen dataclasses to JSON-ready values and back, without loss.

bytes become lower-case hex without prefix, integers decimal strings (JSON numbers end at
2**53), tuples lists; None, bool and str stay. The type hints of the class decide how a
value is read back, so the text carries no class names.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def _same(value: Any) -> Any:
    return value


_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    types.NoneType: _same,
    bool: _same,
    str: _same,
    int: str,
    bytes: bytes.hex,
}


def encode(value: Any) -> Any:
    """A JSON-ready value. Raises TypeError for a type that has no spelling here."""
    plain = _PLAIN.get(type(value))
    if plain is not None:
        return plain(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _hints(type(value))}
    raise TypeError(f"Expected a message, was {type(value).__name__}")


def decode(kind: type[T], value: Any) -> T:
    """The dataclass `kind` from what `encode` made. Raises KeyError, TypeError, ValueError."""
    hints = _hints(typing.cast(Any, kind))
    return kind(**{name: _read(hint, value[name]) for name, hint in hints.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return {field.name: hints[field.name] for field in fields}


def _read(hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _read_optional(hint, value)
    if origin is tuple:
        return _read_tuple(typing.get_args(hint), value)
    return _read_plain(hint, value)


def _read_plain(hint: Any, value: Any) -> Any:
    if hint is int:
        return int(value)
    if hint is bytes:
        return bytes.fromhex(value)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type, hint), value)
    if hint in (str, bool):
        if type(value) is not hint:
            raise TypeError(f"Expected {hint.__name__}, was {type(value).__name__}")
        return value
    raise TypeError(f"Expected a known type, was {hint}")


def _read_optional(hint: Any, value: Any) -> Any:
    (plain,) = [arm for arm in typing.get_args(hint) if arm is not types.NoneType]
    return None if value is None else _read(plain, value)


def _read_tuple(arms: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if len(arms) == 2 and arms[1] is Ellipsis:
        return tuple(_read(arms[0], item) for item in value)
    return tuple(_read(arm, item) for arm, item in zip(arms, value, strict=True))
