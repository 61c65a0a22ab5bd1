"""A chain whose state was being written when it was killed goes on from its last whole copy."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from deploy import chain_state
from deploy.process import StartError

OLD, NEW = b'{"block":{"number":"0x1"},"blocks":[]}', b'{"block":{"number":"0x2"},"blocks":[{}]}'


def test_take_copy_of_a_beginning_keeps_the_last_whole_one(tmp_path: Path) -> None:
    state = chain_state.file(tmp_path)
    state.write_bytes(OLD)
    assert chain_state.take_copy(tmp_path)
    for length in range(len(NEW)):
        state.write_bytes(NEW[:length])
        assert not chain_state.take_copy(tmp_path)
        assert chain_state.copy(tmp_path).read_bytes() == OLD
    state.write_bytes(NEW)
    assert chain_state.take_copy(tmp_path) and chain_state.copy(tmp_path).read_bytes() == NEW


def test_take_copy_while_it_is_written_anew_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, read = chain_state.file(tmp_path), Path.read_bytes
    state.write_bytes(OLD)

    def overtaken(path: Path) -> bytes:
        content = read(path)
        state.write_bytes(OLD)
        os.utime(state, ns=(1, 1))
        return content

    monkeypatch.setattr(Path, "read_bytes", overtaken)
    assert not chain_state.take_copy(tmp_path)


def test_prepare_damaged_state_is_replaced_by_its_copy_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    state = chain_state.file(tmp_path)
    assert chain_state.prepare(tmp_path, said.append) == state and not state.exists()
    state.write_bytes(OLD)
    chain_state.prepare(tmp_path, said.append)
    assert not said and chain_state.copy(tmp_path).read_bytes() == OLD
    state.write_bytes(NEW[:-1])
    assert chain_state.prepare(tmp_path, said.append) == state and state.read_bytes() == OLD
    assert len(said) == 1 and "is damaged" in said[0] and "its copy" in said[0]


def test_prepare_both_damaged_names_the_way_out(tmp_path: Path) -> None:
    chain_state.file(tmp_path).write_bytes(NEW[:-1])
    chain_state.copy(tmp_path).write_bytes(OLD[:-1])
    with pytest.raises(StartError, match="risecurve devnet --reset"):
        chain_state.prepare(tmp_path, print)


async def test_keep_copies_goes_on_without_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_state, "COPY_S", 0.01)
    monkeypatch.setattr(chain_state, "COST_SHARE_MAX", 1.0)
    keeping = asyncio.create_task(chain_state.keep_copies([tmp_path]))
    await asyncio.sleep(0.05)
    chain_state.file(tmp_path).write_bytes(NEW)
    async with asyncio.timeout(5):
        while not chain_state.copy(tmp_path).exists():
            assert not keeping.done()
            await asyncio.sleep(0.01)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
