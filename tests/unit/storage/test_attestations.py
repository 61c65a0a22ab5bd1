"""The attestor's files: durable, and halted wherever something is missing or damaged."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from storage.attestations import HALT, IDENTITY, JOURNAL, Attestation, Attestations

SIGNER = b"\x0a" * 20
ENTRY = Attestation("release", b"\1" * 32, 1, 10, b"\2" * 32, b"\3" * 32, 1_000)


def opened(folder: Path, signer: bytes = SIGNER) -> Attestations:
    made = Attestations(folder, signer=signer)
    made.opened()
    return made


def test_attestations_a_new_folder_begins_unhalted(tmp_path: Path):
    assert opened(tmp_path / "a").halted() is None


def test_attestations_are_there_after_a_restart(tmp_path: Path):
    first = opened(tmp_path)
    first.append(ENTRY)
    first.append(replace(ENTRY, id=b"\4" * 32))
    assert [one.id for one in opened(tmp_path).entries] == [ENTRY.id, b"\4" * 32]


def test_attestations_a_halt_outlives_restarts(tmp_path: Path):
    opened(tmp_path).halt("block 10 is gone", 5)
    again = opened(tmp_path)
    assert again.halted() == "block 10 is gone"
    again.halt("another reason", 6)
    assert opened(tmp_path).halted() == "block 10 is gone"


def test_attestations_a_halt_is_cleared_by_hand_and_a_restart(tmp_path: Path):
    opened(tmp_path).halt("block 10 is gone", 5)
    (tmp_path / HALT).write_text('{"halted": false}')
    assert opened(tmp_path).halted() is None


def test_attestations_another_process_sees_the_halt_at_once(tmp_path: Path):
    other = opened(tmp_path)
    opened(tmp_path).halt("block 10 is gone", 5)
    assert other.halted() == "block 10 is gone"


def test_attestations_of_two_processes_end_in_one_whole_journal(tmp_path: Path):
    stale, other = opened(tmp_path), opened(tmp_path)
    other.append(ENTRY)
    with pytest.raises(OSError, match="somebody else"):
        stale.append(replace(ENTRY, id=b"\4" * 32))
    assert stale.halted() is not None
    other.append(replace(ENTRY, id=b"\5" * 32))
    assert [one.id for one in opened(tmp_path).entries] == [ENTRY.id, b"\5" * 32]
    assert opened(tmp_path).halted() is None


def test_attestations_whose_journal_goes_away_are_not_begun_anew(tmp_path: Path):
    one = opened(tmp_path)
    one.append(ENTRY)
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(OSError, match="somebody else"):
        one.append(replace(ENTRY, id=b"\4" * 32))
    assert opened(tmp_path).halted() is not None


@pytest.mark.parametrize("name", [HALT, JOURNAL])
def test_attestations_with_a_missing_file_are_halted(tmp_path: Path, name: str):
    opened(tmp_path).append(ENTRY)
    (tmp_path / name).unlink()
    assert opened(tmp_path).halted() is not None


def test_attestations_without_identity_but_with_entries_are_halted(tmp_path: Path):
    opened(tmp_path).append(ENTRY)
    (tmp_path / IDENTITY).unlink()
    assert opened(tmp_path).halted() is not None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (HALT, b""),
        (HALT, b"no json"),
        (HALT, b"[]"),
        (HALT, b'{"halted": "no"}'),
        (IDENTITY, b"{}"),
        (JOURNAL, b"something else\n"),
    ],
)
def test_attestations_with_a_damaged_file_are_halted(tmp_path: Path, name: str, content: bytes):
    opened(tmp_path).append(ENTRY)
    (tmp_path / name).write_bytes(content)
    assert opened(tmp_path).halted() is not None


def test_attestations_of_another_key_are_halted(tmp_path: Path):
    opened(tmp_path)
    assert opened(tmp_path, b"\x0b" * 20).halted() is not None


def test_attestations_any_changed_byte_of_the_journal_halts(tmp_path: Path):
    opened(tmp_path).append(ENTRY)
    content = (tmp_path / JOURNAL).read_bytes()
    for position in range(len(content) - 1):
        changed = content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        (tmp_path / JOURNAL).write_bytes(changed)
        assert opened(tmp_path).halted() is not None, position


def test_attestations_a_line_taken_out_halts(tmp_path: Path):
    first = opened(tmp_path)
    for number in range(3):
        first.append(replace(ENTRY, id=bytes([number]) * 32))
    lines = (tmp_path / JOURNAL).read_bytes().split(b"\n")
    (tmp_path / JOURNAL).write_bytes(b"\n".join(lines[:2] + lines[3:]))
    assert opened(tmp_path).halted() is not None


def test_attestations_a_torn_last_line_is_taken_away(tmp_path: Path):
    opened(tmp_path).append(ENTRY)
    content = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(content + b'{"kind": "rel')
    again = opened(tmp_path)
    assert again.halted() is None and len(again.entries) == 1
    again.append(replace(ENTRY, id=b"\4" * 32))
    assert len(opened(tmp_path).entries) == 2


def test_attestations_that_cannot_be_written_are_halted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = opened(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        made.append(ENTRY)
    assert made.halted() is not None


def named(numbers: "range") -> set[tuple[str, bytes]]:
    return {(ENTRY.kind, bytes([number]) * 32) for number in numbers}


def filled(folder: Path, count: int = 10) -> Attestations:
    made = opened(folder)
    for number in range(count):
        made.append(replace(ENTRY, id=bytes([number]) * 32, time=number))
    return made


def test_attestations_that_are_forgotten_are_gone_the_others_stay_and_it_goes_on(tmp_path: Path):
    made = filled(tmp_path)
    before = (tmp_path / JOURNAL).stat().st_size
    made.forget(named(range(6)) | {("refund", bytes([7]) * 32)})
    assert (tmp_path / JOURNAL).stat().st_size < before / 2
    assert [one.time for one in made.entries] == [6, 7, 8, 9]
    made.append(replace(ENTRY, id=b"\xaa" * 32, time=10))
    again = opened(tmp_path)
    assert again.halted() is None and [one.time for one in again.entries] == [6, 7, 8, 9, 10]
    again.forget(named(range(10)) | {(ENTRY.kind, b"\xaa" * 32)})
    assert opened(tmp_path).entries == [] and opened(tmp_path).halted() is None


def test_attestations_any_changed_byte_after_forgetting_halts(tmp_path: Path):
    filled(tmp_path, 3).forget(named(range(2)))
    content = (tmp_path / JOURNAL).read_bytes()
    for position in range(len(content) - 1):
        changed = content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        (tmp_path / JOURNAL).write_bytes(changed)
        assert opened(tmp_path).halted() is not None, position


def test_attestations_of_another_process_stop_where_the_journal_was_replaced(tmp_path: Path):
    made = filled(tmp_path)
    stale = opened(tmp_path)
    made.forget(named(range(4)))
    with pytest.raises(OSError, match="somebody else"):
        stale.append(replace(ENTRY, id=b"\xaa" * 32))
    with pytest.raises(OSError, match="somebody else"):
        opened_late(tmp_path, made).forget(named(range(9)))
    assert [one.time for one in opened(tmp_path).entries] == [*range(4, 10), 10]


def opened_late(folder: Path, other: Attestations) -> Attestations:
    """One that was opened before `other` appended once more."""
    stale = opened(folder)
    other.append(replace(ENTRY, id=b"\xbb" * 32, time=10))
    return stale


def test_attestations_whose_file_was_replaced_by_one_as_long_are_not_written_to_the_old_one(
    tmp_path: Path,
):
    made = filled(tmp_path)
    journal = tmp_path / JOURNAL
    real = Path.open

    def late(self: Path, mode: str = "r", *arguments: object, **named: object):
        file = real(self, mode, *arguments, **named)
        if self == journal and mode == "ab":
            # Another process puts its own there between the opening and the lock.
            part = tmp_path / "other"
            part.write_bytes(journal.read_bytes())
            part.replace(journal)
        return file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", late)
        with pytest.raises(OSError, match="somebody else"):
            made.append(replace(ENTRY, id=b"\xaa" * 32))
    assert made.halted() is not None


def test_attestations_without_room_to_forget_go_on_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            made.forget(named(range(4)))
    assert made.halted() is None and len(made.entries) == 10
    made.append(replace(ENTRY, id=b"\xaa" * 32, time=10))
    assert [one.time for one in opened(tmp_path).entries] == [*range(11)]


def test_attestations_that_may_have_been_replaced_or_not_are_halted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = filled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.open", lambda *_: (_ for _ in ()).throw(OSError("no folder")))
        with pytest.raises(OSError, match="no folder"):
            made.forget(named(range(4)))
    assert made.halted() is not None
    assert opened(tmp_path).halted() is None


DIE_AT = """
import os, signal, sys
from pathlib import Path
from storage.attestations import Attestations

folder, wanted = Path(sys.argv[1]), int(sys.argv[2])
made = Attestations(folder, signer=b"\\x0a" * 20)
made.opened()
assert made.halted() is None and len(made.entries) == 10
calls = 0

def dying(real):
    def call(*arguments, **named):
        global calls
        for before in (True, False):
            if calls == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            if before:
                found = real(*arguments, **named)
        return found
    return call

os.fsync, os.open, os.close = dying(os.fsync), dying(os.open), dying(os.close)
Path.open, Path.replace = dying(Path.open), dying(Path.replace)
made.forget({("release", bytes([number]) * 32) for number in range(6)})
print(calls)
"""


def test_attestations_killed_at_each_point_of_forgetting_are_the_old_ones_or_the_new(
    tmp_path: Path,
):
    points, found = 0, set()
    while True:
        folder = tmp_path / str(points)
        filled(folder)
        done = subprocess.run(
            [sys.executable, "-c", DIE_AT, str(folder), str(points)],
            capture_output=True,
            timeout=30,
            check=False,
        )
        again = opened(folder)
        assert again.halted() is None, (points, again.halted())
        times = [one.time for one in again.entries]
        assert times in ([*range(10)], [*range(6, 10)]), points
        # It goes on, and what it forgets next is whole.
        again.append(replace(ENTRY, id=b"\xaa" * 32, time=10))
        again.forget(named(range(8)))
        assert [one.time for one in opened(folder).entries] == [8, 9, 10]
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        found.add(len(times))
        points += 1
    assert points >= 12 and found == {10, 4}
