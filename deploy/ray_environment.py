"""What Ray reads from the environment when it is imported: its token, no usage statistics.

Ray's native library reads `RAY_AUTH_MODE` once, at import; so this runs first, and imports
nothing of Ray.
"""

import os
import secrets
import stat
from collections.abc import MutableMapping
from pathlib import Path

from deploy.files import write_atomic
from deploy.process import StartError

QUIET = {
    # Task events and metrics, which a dashboard would show: a local Ray has none.
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    # The log monitor hands workers' lines to the driver, which wants none; it looks for their files
    # ten times a second up to so many of them, and above that at this interval.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "3600",
    # Workers that Ray starts at once, and a quarter of those above which it warns on our terminal:
    # each role is one.
    "RAY_worker_maximum_startup_concurrency": "8",
}
"""What Ray does for nobody: two to three hundredths of a processor each, and lines of its own."""

RUN = "RISECURVE_RUN"
"""Names one run of a command that has a Ray of its own."""


def token_file(folder: Path) -> Path:
    """Where the token of the system in this data folder is."""
    return folder / "ray.token"


def prepare(
    folder: Path, environ: MutableMapping[str, str] = os.environ, *, shared: bool = False
) -> None:
    """Make a token of our own in `folder` (not Ray's: Ray opens its own to everybody), and
    name it in the environment.

    A token mode that the operator has set already stays. On a `shared` cluster nothing is
    made: its token is the operator's, named by Ray's own variables.
    """
    environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's own 15 lets anything else on the machine go before the actors that hold prices.
    environ.setdefault("RAY_worker_niceness", "0")
    if not shared:
        for name, value in QUIET.items():
            environ.setdefault(name, value)
    if environ.get("RAY_AUTH_MODE") or shared:
        return
    token = token_file(folder)
    if not token.exists() or not token.stat().st_size:  # a crash left it empty
        write_atomic(token, secrets.token_hex(32).encode(), mode=0o600)
    found = token.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StartError(f"{token} must be a file of this user with mode 0600; remove it.")
    environ["RAY_AUTH_MODE"] = "token"
    environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def marked(environ: MutableMapping[str, str] = os.environ) -> str:
    """Mark the environment, and so all that is begun in it from now on, as of this run; the entry
    is answered as it stands there.
    """
    environ[RUN] = f"{os.getpid()}-{secrets.token_hex(8)}"
    return f"{RUN}={environ[RUN]}"
