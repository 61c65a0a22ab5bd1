"""Frozen dataclasses made at the price of plain ones, for what is made for every trade.

A frozen class' own constructor goes round its lock once a field: ten fields cost more than the
trade's arithmetic. Here the object is filled while it is of a plain class with the same slots,
and becomes one of the frozen class with the last field; nobody sees it before.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, make_dataclass
from dataclasses import field as field_of
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def maker(kind: Callable[P, T]) -> Callable[P, T]:
    """What makes objects equal to those of `kind`, from the same arguments.

    `kind` is a frozen slotted dataclass. Raises TypeError for one that does more than to take
    its fields, or has no slots.
    """
    plain = [(one.name, Any, _default(one)) for one in fields(kind)]  # type: ignore[arg-type]
    if hasattr(kind, "__post_init__") or not hasattr(kind, "__slots__"):
        raise TypeError(f"Expected a slotted class that only takes its fields, was {kind}")

    def close(made: Any) -> None:
        made.__class__ = kind

    return make_dataclass("Made", plain, slots=True, namespace={"__post_init__": close})


def _default(one: "Field[Any]") -> Any:
    if one.default_factory is not MISSING or not one.init or one.kw_only:
        raise TypeError(f"Expected a field that is given, or has a plain default, was {one.name}")
    return field_of(default=one.default)
