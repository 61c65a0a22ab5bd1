"""What has been there for long is not walked, and its cycles are found in the end."""

import asyncio
import gc
import weakref

import pytest

from actors import collecting


@pytest.fixture(autouse=True)
def restored():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Node:
    def __init__(self) -> None:
        self.me = self


def test_settled_objects_are_walked_only_by_a_whole_look() -> None:
    node = Node()
    gone = weakref.ref(node)
    assert collecting.settle() > 1_000
    assert not any(one is node for one in gc.get_objects())
    del node
    collecting.settle()
    assert gone() is not None
    collecting.settle(whole=True)
    assert gone() is None


def test_what_is_new_is_collected_by_every_settling() -> None:
    collecting.settle()
    node = Node()
    gone = weakref.ref(node)
    del node
    collecting.settle()
    assert gone() is None


async def test_keep_settling_goes_on_and_looks_at_everything_now_and_then(monkeypatch) -> None:
    told: list[bool] = []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 27:
            raise asyncio.CancelledError

    monkeypatch.setattr(collecting, "settle", lambda whole=False: told.append(whole))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await collecting.keep_settling()
    assert slept[:3] == [5.0, 30.0, 300.0]
    assert [turn for turn, whole in enumerate(told) if whole] == [14, 26]
    assert gc.get_threshold()[0] == collecting.YOUNG_MAX
