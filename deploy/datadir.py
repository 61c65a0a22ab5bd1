"""The data folder: where it is, who may hold it, which chain it belongs to, its secrets."""

import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import orjson

from deploy import identity
from deploy.files import write_atomic
from deploy.identity import Identity
from deploy.process import StartError, await_orphan

TEMPORARY_PREFIX = "risecurve-"
CHAIN_FILE = "chain.json"
RUN_FILE = "run.json"
LOCK_TIMEOUT_S = 1.0
"""Whoever only looks whether it is held has it for a moment."""

HOLDER_TIMEOUT_S = 1.0
"""Whoever takes the folder tells at once who it is."""

ORPHAN_TIMEOUT_S = 8.0
POLL_S = 0.02
ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a data folder."""

    process: Identity
    is_ending: bool


RAY_FOLDER = "r"
RAY_FOLDER_LENGTH_MAX = 37


def clone_root() -> Path:
    """The folder of this clone: sources, `node_modules`, `deployments`."""
    return Path(__file__).resolve().parents[1]


def default_data_dir(clone: Path | None = None) -> Path:
    """One folder per clone under the user's data folder.

    As root it is under /var/lib: Postgres runs as nobody then, who must be able to enter.
    """
    path = str((clone or clone_root()).resolve())
    name = hashlib.sha256(path.encode()).hexdigest()[:12]
    if os.geteuid() == 0:
        return Path("/var/lib/risecurve") / name
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "risecurve" / name


def prepare(folder: Path) -> Path:
    """Make the folder, private to us but passable for nobody when we are root."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise StartError(
            f"The data folder {folder} cannot be made ({error.strerror}); set DATA_DIR."
        ) from error
    return folder


@contextmanager
def temporary() -> Iterator[Path]:
    """A data folder that goes at the end; those of processes that were killed go now."""
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{TEMPORARY_PREFIX}*"):
        _sweep(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{os.getpid()}-", dir=base))
    try:
        yield prepare(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder alone, as `holder` tells others. What the last one told of itself goes.

    Raises StartError while another process has it.
    """
    with _locked(folder) as lock:
        (folder / RUN_FILE).unlink(missing_ok=True)
        lock.write(f"{identity.of(os.getpid())}\n")
        lock.flush()
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds the folder, so that what it left there is true."""
    with (folder / "lock").open("a") as file:
        try:
            # Shared, so that those who only look are not in each other's way.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def holder(folder: Path) -> Holder:
    """Who holds the folder. Raises StartError: nobody, or one that cannot be told to end."""
    deadline = time.monotonic() + HOLDER_TIMEOUT_S
    while is_held(folder):
        first, _, more = (folder / "lock").read_text().partition("\n")
        found = identity.parsed(first)
        if found is not None and found.alive:
            return Holder(found, is_ending=more.startswith(ENDING))
        if time.monotonic() > deadline:
            raise StartError(f"The data folder {folder} is being reset; try again.")
        time.sleep(POLL_S)
    raise nothing_runs(folder)


def ends(folder: Path) -> None:
    """We, who hold the folder, are ending; nobody need tell us to."""
    with (folder / "lock").open("a") as lock:
        lock.write(f"{ENDING}\n")


def nothing_runs(folder: Path) -> StartError:
    """What a command says that needs a running system."""
    return StartError(f"Nothing runs in {folder}; start it with `risecurve up`.")


def bind_chain(folder: Path, *, chain_id: int, genesis_hash: bytes) -> None:
    """Tie the folder to this chain at first use. Raises StartError if it holds another's data."""
    known = _chains(folder)
    bound = known.get(str(chain_id))
    if bound is None:
        known[str(chain_id)] = {"genesisHash": "0x" + genesis_hash.hex()}
        write_atomic(folder / CHAIN_FILE, orjson.dumps(known, option=orjson.OPT_INDENT_2))
        return
    if bound["genesisHash"] != "0x" + genesis_hash.hex():
        raise StartError(
            f"The data folder {folder} holds another chain {chain_id} (genesis"
            f" {bound['genesisHash']}, the node has 0x{genesis_hash.hex()}); run"
            " `risecurve devnet --reset` to start afresh."
        )


def secret(folder: Path, name: str) -> str:
    """A random secret of 32 bytes in hex, made at first use and kept with mode 0600."""
    file = folder / name
    if file.exists():
        return file.read_text().strip()
    value = secrets.token_hex(32)
    write_atomic(file, value.encode(), mode=0o600)
    return value


def ray_folder(folder: Path) -> Path:
    """Where Ray keeps its session. Raises StartError if another user holds it.

    It lies in a folder that is private to us, since Ray opens its own to everybody. Unix socket
    paths end at 107 bytes and Ray's own part takes 70, so a long data folder has its Ray folder
    under the temporary one.
    """
    private = folder / "ray"
    if len(str(private / RAY_FOLDER)) > RAY_FOLDER_LENGTH_MAX:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        private = Path(tempfile.gettempdir()) / f"rc-{name}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.is_symlink() or private.stat().st_uid != os.geteuid():
        raise StartError(f"{private} belongs to somebody else; set TMPDIR or DATA_DIR.")
    private.chmod(0o700)
    chosen = private / RAY_FOLDER
    chosen.mkdir(exist_ok=True)
    return chosen


def forget_sessions(ray: Path) -> None:
    """Remove what earlier runs left of Ray's sessions there, but for the last, whose logs may say
    why it ended. For who holds the data folder.
    """
    sessions = [one for one in ray.glob("session_*") if not one.is_symlink()]
    for old in sorted(sessions, key=lambda one: one.stat().st_mtime)[:-1]:
        shutil.rmtree(old, ignore_errors=True)


def reset(folder: Path) -> None:
    """Remove all that the folder holds, once what a killed owner left has ended with it.

    Raises StartError while another process has it.
    """
    if not folder.exists():
        return
    with _locked(folder):
        for orphan in (folder / "pids").glob("*"):
            await_orphan(orphan, timeout_s=ORPHAN_TIMEOUT_S)
        for entry in folder.iterdir():
            if entry.name == "lock":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[TextIO]:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    with (folder / "lock").open("a") as file:
        while not _is_ours(file):
            if time.monotonic() > deadline:
                raise StartError(
                    f"The data folder {folder} is in use by another risecurve;"
                    " stop that one or set DATA_DIR."
                )
            time.sleep(POLL_S)
        file.truncate(0)
        yield file


def _is_ours(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _chains(folder: Path) -> dict[str, dict[str, str]]:
    file = folder / CHAIN_FILE
    if not file.exists():
        return {}
    try:
        known: dict[str, dict[str, str]] = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise StartError(
            f"{file} is damaged; run `risecurve devnet --reset` to start afresh."
        ) from error
    return known


def _sweep(folder: Path) -> None:
    pid = folder.name.removeprefix(TEMPORARY_PREFIX).split("-")[0]
    try:
        ours = folder.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return
    if ours and pid.isdigit() and not Path("/proc", pid).exists():
        shutil.rmtree(folder, ignore_errors=True)
