"""What an attestor must not forget, in files of its own: what it signed, and that it halted.

Three files in one folder: `identity.json` whose key it is, `journal.log` every attestation,
`halt.json` whether it is halted. All three are made at the first start, so that one which is
missing later, or cannot be read, is known to be missing: then the attestor is halted. A line
of the journal ends in a hash over it and the line before; a last line without its end was
never signed for, since the signature leaves only after the line is on the disk. A process
that is not the only one to write there finds the journal longer than it left it, or another
one in its place, and stops. Entries that are over are forgotten: the journal without them is
written beside it, put on the disk and takes its place; killed anywhere, one of the two is there.
"""

import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from engine import codec

IDENTITY, JOURNAL, HALT = "identity.json", "journal.log", "halt.json"
_BEGIN = b"risecurve attestations 1"


@dataclass(frozen=True, slots=True)
class Attestation:
    """`kind` release or refund; the event stood in this block of `chain_id`. `time` is unix
    seconds of this machine."""

    kind: str
    id: bytes
    chain_id: int
    block_number: int
    block_hash: bytes
    signer_set: bytes
    time: int


class Attestations:
    """One attestor's. `opened` first; nothing here raises for a file that is damaged: it is
    halted instead."""

    def __init__(self, folder: Path, *, signer: bytes) -> None:
        self._folder = folder
        self._signer = signer
        self._chain = b""
        self._length = 0
        self._fault = "Expected to be opened"
        self.entries: list[Attestation] = []

    def opened(self) -> str | None:
        """Read everything, or begin; why it is halted, None if it is not."""
        self._fault = ""
        try:
            if self._is_new():
                self._begin()
            self._read_identity()
            self._read_journal()
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._fault = f"Expected readable files in {self._folder}: {error!r}"
        return self.halted()

    def halted(self) -> str | None:
        """Why nothing may be signed, read from the disk each time; None: something may."""
        if self._fault:
            return self._fault
        try:
            document = orjson.loads((self._folder / HALT).read_bytes())
            if document == {"halted": False}:
                return None
            return str(document.get("reason", "halted"))
        except (OSError, ValueError, AttributeError) as error:
            return f"Expected a readable {HALT}: {error!r}"

    def halt(self, reason: str, time: int) -> None:
        """Durable when it returns: it outlives a restart. Halting again changes nothing."""
        halted = self.halted()
        self._fault = self._fault or reason  # whatever becomes of the file, not in this process
        if halted is None:
            self._replace(HALT, {"halted": True, "reason": reason, "time": time})

    def append(self, entry: Attestation) -> None:
        """On the disk when it returns. Raises OSError, and is halted for this process then."""
        whole, mark = _line(self._chain, entry)
        try:
            with self._alone() as file:
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._fault = f"Expected to write the journal: {error!r}"
            raise
        self._chain = mark
        self._length += len(whole)
        self.entries.append(entry)

    def forget(self, names: Collection[tuple[str, bytes]]) -> None:
        """Takes entries, by kind and id, out of the journal; on the disk when it returns. Raises
        OSError: without room on the disk nothing has changed, else it is halted for this process.
        """
        kept = [one for one in self.entries if (one.kind, one.id) not in names]
        content, chain = bytearray(_BEGIN + b"\n"), b""
        for entry in kept:
            whole, chain = _line(chain, entry)
            content += whole
        self._prepare(JOURNAL, bytes(content))
        try:
            with self._alone():
                self._take(JOURNAL)
        except OSError as error:
            self._fault = f"Expected to replace the journal: {error!r}"
            raise
        self.entries, self._chain, self._length = kept, chain, len(content)

    # -------------------------------------------------------------------- private

    @contextmanager
    def _alone(self) -> Iterator[BinaryIO]:
        # The journal as this process left it, and nobody else's for now.
        path = self._folder / JOURNAL
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go of with the file
            in_place = path.stat().st_ino == os.fstat(file.fileno()).st_ino
            if file.tell() != self._length or not in_place:
                raise OSError("somebody else wrote to it")
            yield file

    def _is_new(self) -> bool:
        # The identity is written last: without it nothing was ever signed, unless it was lost.
        if (self._folder / IDENTITY).exists():
            return False
        journal = self._folder / JOURNAL
        if journal.exists() and len(journal.read_bytes().splitlines()) > 1:
            raise ValueError(f"a journal with entries and no {IDENTITY}")
        return True

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (self._folder / HALT).exists() and self.halted() is not None:
            raise ValueError(f"a halt and no {IDENTITY}")
        self._write(JOURNAL, _BEGIN + b"\n")
        self._replace(HALT, {"halted": False})
        self._replace(IDENTITY, {"signer": self._signer.hex()})

    def _read_identity(self) -> None:
        signer = orjson.loads((self._folder / IDENTITY).read_bytes())["signer"]
        if signer != self._signer.hex():
            raise ValueError(f"the files of 0x{signer}, the key is 0x{self._signer.hex()}'s")

    def _read_journal(self) -> None:
        content = (self._folder / JOURNAL).read_bytes()
        lines = content.split(b"\n")
        if lines[0] != _BEGIN:
            raise ValueError("a journal that begins otherwise")
        self.entries, self._chain = [], b""
        for line in lines[1:-1]:
            body, _, mark = line.rpartition(b" ")
            if mark != _mark(self._chain, body):
                raise ValueError(f"line {len(self.entries) + 2} of the journal as it was written")
            self.entries.append(codec.decode(Attestation, orjson.loads(body)))
            self._chain = mark
        if lines[-1]:
            # Torn by a crash before its signature left: taken away, or the next would join it.
            self._write(JOURNAL, content[: len(content) - len(lines[-1])])
        self._length = len(content) - len(lines[-1])

    def _replace(self, name: str, document: dict[str, Any]) -> None:
        self._write(name, orjson.dumps(document))

    def _write(self, name: str, content: bytes) -> None:
        self._prepare(name, content)
        self._take(name)

    def _prepare(self, name: str, content: bytes) -> None:
        with (self._folder / f"{name}.part").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _take(self, name: str) -> None:
        (self._folder / f"{name}.part").replace(self._folder / name)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _line(before: bytes, entry: Attestation) -> tuple[bytes, bytes]:
    # (as it stands in the journal, its hash)
    line = orjson.dumps(codec.encode(entry))
    mark = _mark(before, line)
    return line + b" " + mark + b"\n", mark


def _mark(before: bytes, line: bytes) -> bytes:
    return hashlib.sha256(before + line).hexdigest()[:32].encode()
