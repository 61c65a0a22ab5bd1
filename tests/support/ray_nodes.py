"""A Ray cluster of several nodes on this machine, each a raylet of its own, to be killed by pid.

`ray.cluster_utils.Cluster` as Ray's own tests use it, with the head's tables in a Redis.
Nothing of the dashboard is used, and its agent alone takes two seconds of a core a node: it
is started as in an installation without the dashboard. `prepare` must come before Ray's import.
"""

import contextlib
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy import watchdog
from deploy.process import free_port

HOST = "127.0.0.2"
"""Loopback, but not the address that Ray takes for "this machine" and looks up anew."""

OBJECT_STORE = 80 * 1024 * 1024
TRIES = 3
"""On a busy machine a raylet gives up waiting for its own agent after 15 s."""


def prepare(folder: Path) -> dict[str, str]:
    """What every process of the cluster has in its environment, this one included."""
    assert "ray" not in sys.modules, "Expected Ray not to be imported yet"
    token = folder / "ray.token"
    if not token.exists():
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    temporary = folder / "t"
    (temporary / "ray").mkdir(parents=True, exist_ok=True)
    given = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_TMPDIR": str(temporary),
        "RAY_DEDUP_LOGS": "0",
    }
    os.environ.update(given)
    return given


class RayNodes:
    """`address` is the head's; `nodes` maps the id of a node to what started it."""

    def __init__(self, redis_url: str) -> None:
        # Here, since Ray reads its environment when it is imported.
        from ray._private import utils
        from ray.cluster_utils import Cluster

        utils.get_dashboard_dependency_error = lambda: ImportError("not wanted")
        # Nodes are started in threads, beside a loop; a signal handler wants the main one.
        utils.set_sigterm_handler = lambda handler: None
        parts = urlsplit(redis_url)
        self._redis = f"{parts.hostname}:{parts.port}"
        self._cluster = Cluster()
        self._head_args = self._arguments() | {
            "gcs_server_port": free_port(),
            "include_dashboard": False,
            "redis_password": parts.password or "",
        }
        self.head: Any = self._started(self._head)
        self.nodes: dict[str, Any] = {self.head.node_id: self.head}
        self.address: str = self.head.gcs_address

    def add(self, **environment: str) -> str:
        """One more node, with these variables in its environment; its id."""
        node = self._started(lambda: self._worker(environment))
        self.nodes[node.node_id] = node
        return str(node.node_id)

    def kill(self, node_id: str) -> None:
        """kill -9 of its raylet: its workers end with it."""
        os.kill(self._pid(self.nodes.pop(node_id), "raylet"), signal.SIGKILL)

    def kill_head(self) -> None:
        """kill -9 of the head's raylet and of Ray's tables."""
        for kind in ("gcs_server", "raylet"):
            os.kill(self._pid(self.head, kind), signal.SIGKILL)
        self.nodes.pop(self.head.node_id)

    def restart_head(self) -> str:
        """A new head at the same address, with what the Redis kept; its id."""
        old = self.head
        old.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self._cluster.head_node = None
        self.head = self._started(self._head)
        self.nodes[self.head.node_id] = self.head
        assert self.head.gcs_address == self.address
        return str(self.head.node_id)

    def stop(self) -> None:
        """End everything, what killed nodes left too: agents stay for up to a minute."""
        for node in [*self.nodes.values()]:
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        token, folder = os.environ["RAY_AUTH_TOKEN_PATH"], os.environ["RAY_TMPDIR"]
        for pid in watchdog.left(f"RAY_AUTH_TOKEN_PATH={token}", f"{folder}/ray/session_[^/]*"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _head(self) -> Any:
        os.environ["RAY_REDIS_ADDRESS"] = self._redis
        try:
            self._cluster.head_node = None
            return self._cluster.add_node(wait=False, **self._head_args)
        finally:
            del os.environ["RAY_REDIS_ADDRESS"]

    def _worker(self, environment: dict[str, str]) -> Any:
        arguments = self._arguments()
        if environment:
            arguments["env_vars"] = environment
        return self._cluster.add_node(wait=False, **arguments)

    @staticmethod
    def _started(start: Any) -> Any:
        for left in reversed(range(TRIES)):
            try:
                return start()
            except Exception:
                if not left:
                    raise
                time.sleep(1.0)
        raise AssertionError("not reached")

    @staticmethod
    def _arguments() -> dict[str, Any]:
        return {
            "num_cpus": 1,
            "object_store_memory": OBJECT_STORE,
            "node_ip_address": HOST,
            "include_log_monitor": False,
            "metrics_agent_port": free_port(),
            "metrics_export_port": free_port(),
            "runtime_env_agent_port": free_port(),
        }

    @staticmethod
    def _pid(node: Any, kind: str) -> int:
        return int(node.all_processes[kind][0].process.pid)
