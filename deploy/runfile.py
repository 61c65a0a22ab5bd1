"""What a running system tells other commands: `run.json` in its data folder."""

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from deploy import datadir
from deploy.datadir import RUN_FILE
from deploy.files import write_atomic
from deploy.process import StartError


@dataclass(frozen=True, slots=True)
class RunFile:
    """How to reach a running system from another process of this machine."""

    pid: int
    api_url: str
    ray_address: str
    ray_folder: str
    rise_rpc: str
    rise_ws: str
    sepolia_rpc: str
    sepolia_ws: str
    database_url: str
    mongodb_url: str
    redis_url: str
    stream_url: str = ""
    """Empty: this system has no stream door."""


def write(data_dir: Path, run: RunFile) -> None:
    """Leave it for other commands, readable by its owner only."""
    write_atomic(data_dir / RUN_FILE, orjson.dumps(asdict(run)), mode=0o600)


def remove(data_dir: Path) -> None:
    """The system is down."""
    (data_dir / RUN_FILE).unlink(missing_ok=True)


def read(data_dir: Path) -> RunFile:
    """Raises StartError when nothing runs there, or nothing that answers yet or any more."""
    if not datadir.is_held(data_dir):
        raise datadir.nothing_runs(data_dir)
    try:
        return RunFile(**orjson.loads((data_dir / RUN_FILE).read_bytes()))
    except FileNotFoundError as error:
        raise StartError(
            f"What runs in {data_dir} is starting or ending, or has no system;"
            " try again, or end it with `risecurve down`."
        ) from error
