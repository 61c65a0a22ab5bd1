import asyncio

import pytest

from actors.tasks import Tasks


async def test_name_is_free_again_once_its_task_is_over_and_not_before():
    tasks, go = Tasks(), asyncio.Event()
    tasks.start("a", go.wait())
    assert "a" in tasks and "b" not in tasks and tasks
    late = go.wait()
    with pytest.raises(AssertionError, match="no task of a"):
        tasks.start("a", late)
    late.close()
    go.set()
    await asyncio.sleep(0.01)
    assert "a" not in tasks and not tasks
    tasks.start("a", asyncio.sleep(60))
    tasks.cancel()
    await asyncio.sleep(0.01)
    assert not tasks


async def test_fault_of_a_task_is_told_to_the_loop_and_frees_its_name():
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: told.append(fault))

    async def fail():
        raise ValueError("broken")

    tasks = Tasks()
    tasks.start("a", fail())
    await asyncio.sleep(0.01)
    assert not tasks and [str(one["exception"]) for one in told] == ["broken"]
