"""The attestor's files: durable, and halted wherever something is missing or damaged."""

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
