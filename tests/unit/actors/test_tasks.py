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


async def test_fault_of_a_task_is_raised_by_whoever_watches_and_frees_its_name():
    async def fail():
        raise ValueError("broken")

    tasks = Tasks()
    watch = asyncio.create_task(tasks.watch())
    tasks.start("good", asyncio.sleep(0))
    tasks.start("cancelled", asyncio.sleep(60))
    tasks.cancel()
    await asyncio.sleep(0.01)
    assert not tasks and not watch.done()
    tasks.start("a", fail())
    with pytest.raises(ValueError, match="broken"):
        await asyncio.wait_for(watch, 1)
    assert not tasks


async def test_join_waits_for_what_is_under_way_and_not_for_ever():
    tasks, go = Tasks(), asyncio.Event()
    assert await tasks.join(timeout_s=0.01)
    tasks.start("a", go.wait())
    assert not await tasks.join(timeout_s=0.01) and "a" in tasks
    asyncio.get_running_loop().call_later(0.01, go.set)
    assert await tasks.join(timeout_s=5)
