"""What a maker makes is what the class makes: equal, frozen, and pickled as before."""

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from curves.curve import Quote
from curves.making import maker


@dataclass(frozen=True, slots=True)
class Pair:
    left: int
    right: str = "none"


_pair = maker(Pair)


def test_maker_gives_what_the_class_gives() -> None:
    made = _pair(1, right="two")
    assert type(made) is Pair and made == Pair(1, "two")
    assert hash(made) == hash(Pair(1, "two")) and repr(made) == repr(Pair(1, "two"))
    assert _pair(1) == Pair(1) and _pair(right="x", left=2) == Pair(2, "x")


def test_maker_gives_objects_that_stay_frozen() -> None:
    made = _pair(1)
    with pytest.raises(FrozenInstanceError):
        made.left = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        replace(made, left=3).left = 4  # type: ignore[misc]


def test_maker_gives_objects_that_are_pickled_and_replaced() -> None:
    made = _pair(1, "two")
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is Pair and again == made
    assert replace(made, left=3) == Pair(3, "two")


def test_maker_keeps_the_order_of_the_fields() -> None:
    names = [one.name for one in fields(Quote)]
    made = maker(Quote)(*range(len(names)))  # type: ignore[arg-type]
    assert [getattr(made, name) for name in names] == [*range(len(names))]


def test_maker_of_the_wrong_arguments_raises() -> None:
    with pytest.raises(TypeError):
        _pair()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        _pair(1, "two", 3)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Open:
    left: int


@dataclass(frozen=True, slots=True)
class Checked:
    left: int

    def __post_init__(self) -> None:
        assert self.left > 0


@dataclass(frozen=True, slots=True)
class Filled:
    left: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Named:
    left: int = field(kw_only=True)


@pytest.mark.parametrize("kind", [Open, Checked, Filled, Named])
def test_maker_of_a_class_that_does_more_than_take_its_fields_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match="Expected"):
        maker(kind)
