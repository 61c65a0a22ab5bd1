"""Child processes that never outlive us: spawned with a parent-death signal, stopped by pid.

The kernel sends the parent-death signal when the *thread* that made the child ends, so
`spawn` insists on the main thread. Changing the user id clears it, so it is set after.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy import identity
from deploy.files import write_atomic
from engine.errors import RiseCurveError

PR_SET_PDEATHSIG = 1
NOBODY = 65534
POLL_S = 0.02
LOG_TAIL_LINES = 3

_libc = ctypes.CDLL(None, use_errno=True)


class StartError(RiseCurveError):
    """Something cannot be brought up; the message is one sentence for whoever typed the command."""

    def __init__(self, message: str) -> None:
        super().__init__("start_failed", message)

    def __reduce__(self) -> tuple[type["StartError"], tuple[str]]:
        return type(self), (self.message,)

    def __str__(self) -> str:
        return self.message


@contextmanager
def kept_environment() -> Iterator[None]:
    """What is said to child processes meanwhile, as of a folder that goes, is not said after it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(slots=True)
class Server:
    """One running child. `stop_signal` asks it to end; `death_signal` reaches it if we die."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    port: int
    stop_signal: int = signal.SIGTERM
    url: str = field(default="", repr=False)

    @property
    def pid(self) -> int:
        """The process id, which is its session's and process group's too."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def choose_port(name: str, port: int | None) -> int:
    """`port` if it is free, or a free one when none is asked for. Raises StartError."""
    if port is None:
        return free_port()
    with socket.socket() as probe:
        # Servers set it too: a port in TIME_WAIT is free to them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartError(
                f"Port {port} for {name} is in use; stop what listens there or choose another."
            ) from error
    return port


def require_binary(name: str, path: Path, install: str) -> Path:
    """`path` if it is an executable file. Raises StartError that names what to run."""
    if not path.is_file() or not os.access(path, os.X_OK):
        raise StartError(f"{name} is not installed (expected {path}); run `{install}`.")
    return path


def spawn(
    name: str,
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    port: int = 0,
    pid_file: Path | None = None,
    user: int | None = None,
    stop_signal: int = signal.SIGTERM,
    death_signal: int = signal.SIGKILL,
    environment: Mapping[str, str] | None = None,
) -> Server:
    """Start `command` in a session of its own, output to `log`, as `user` if given. Who it is is
    left in `pid_file`, for `await_orphan` of a later owner.

    Guarantee: when this process dies by any means, the child gets `death_signal` at once.
    Raises StartError off the main thread, or when the command cannot run.
    """
    if threading.current_thread() is not threading.main_thread():
        raise StartError(f"{name} must be started from the main thread, its death ends the server.")
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 (a command of our own)
                list(command),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | environment if environment else None,
                preexec_fn=tie_to_parent(os.getpid(), death_signal),  # noqa: PLW1509 (one syscall)
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        except OSError as error:
            raise StartError(f"{name} cannot run ({command[0]}): {error.strerror}.") from error
    if pid_file is not None:
        # Before it is ready: we may be killed meanwhile.
        write_atomic(pid_file, str(identity.of(process.pid)).encode())
    return Server(name=name, process=process, log=log, port=port, stop_signal=stop_signal)


def tie_to_parent(parent: int, death_signal: int) -> Callable[[], None]:
    """What a child runs between fork and exec, after the change of user, so that it gets this
    signal when `parent`, its own, dies.
    """

    def arm() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        # It may have died before the signal was armed.
        if os.getppid() != parent:
            os._exit(1)

    return arm


def wait_ready(server: Server, ready: Callable[[], bool], *, timeout_s: float) -> None:
    """Return once `ready()`; raises StartError when the child ends or `timeout_s` passes."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if not server.alive:
            raise StartError(
                f"{server.name} ended at its start (exit {server.process.returncode}):"
                f" {log_tail(server.log)}"
            )
        if time.monotonic() > deadline:
            stop_all([server], timeout_s=1)
            raise StartError(
                f"{server.name} was not ready within {timeout_s:g} s: {log_tail(server.log)}"
            )
        time.sleep(POLL_S)


def stop_all(servers: Sequence[Server], *, timeout_s: float) -> None:
    """Ask all to end, wait at most `timeout_s` for all together, then kill their groups."""
    for server in servers:
        if server.alive:
            server.process.send_signal(server.stop_signal)
    deadline = time.monotonic() + timeout_s
    for server in servers:
        try:
            server.process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _kill_group(server.pid)
            server.process.wait(timeout=5)


def await_orphan(file: Path, *, timeout_s: float) -> None:
    """Wait until the process that `file` names, which has no owner left, has ended; then kill it.

    Raises StartError if even that takes longer than `timeout_s`.
    """
    if not file.exists():
        return
    orphan = identity.parsed(file.read_text(errors="replace"))
    deadline = time.monotonic() + timeout_s
    while orphan is not None and orphan.alive:
        if time.monotonic() > deadline + timeout_s:
            raise StartError(
                f"An earlier {file.name} (process {orphan.pid}) does not end; kill it."
            )
        if time.monotonic() > deadline:
            _kill_group(orphan.pid)
        time.sleep(POLL_S)
    file.unlink()


def listening(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def log_tail(log: Path) -> str:
    """The last lines of a log on one line, for an error's sentence."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-LOG_TAIL_LINES:]) or "it wrote no log"


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
