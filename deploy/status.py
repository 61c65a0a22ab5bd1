"""The status for humans: nodes, then roles, as tables. Behind are blocks; MB are PSS."""

import io
import shutil
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.limits import BUCKETS

WIDTH_MIN = 100
NODE_DIGITS = 8
SHOWN = {
    "listener": ("tip", "finalised", "tip_age_s", "connected", "halted"),
    "recorder": ("block", "events", "reorgs"),
    "shard": ("buckets", "buckets_prepared", "markets", "quotes", "ticks", "halted_markets"),
    "gateway": ("refused_stale", "replica_served", "replica_age_ms_p99"),
    "stream_gateway": (
        "connections",
        "served",
        "subscriptions",
        "replica_served",
        "replica_age_ms_p99",
    ),
}
"""What is said of a role; of others their first few counters."""

OTHERS_SHOWN = 4
SHOWN_ABOVE_ZERO = ("buckets_prepared",)


def text(data: Mapping[str, Any]) -> str:
    """Tables of a status with `roles`, as wide as the terminal."""
    width = max(shutil.get_terminal_size().columns, WIDTH_MIN)
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as capture:
        console.print(_summary(data))
        if len(data["nodes"]) > 1:
            console.print("", _nodes(data), sep="\n")
        console.print("", _roles(data), sep="\n")
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).rstrip()


def lag_blocks(role: str, status: Mapping[str, Any] | None, tip: int | None) -> int | None:
    """How many blocks a consumer stands behind the listener; None for who follows nothing."""
    if role not in ("shard", "recorder") or status is None or tip is None:
        return None
    if role == "shard" and status["block"] < 0:
        return None  # it owns nothing
    return max(tip - int(status["block"]), 0)


def _summary(data: Mapping[str, Any]) -> str:
    roles = data["roles"]
    markets = sum((roles.get(one["slot"]) or {}).get("markets", 0) for one in _of(data, "shard"))
    memory = sum((status or {}).get("memory_mb", 0) for status in roles.values())
    moving = f", {data['buckets_to_move']} of them to move" if data.get("buckets_to_move") else ""
    served = f"{data['buckets_owned']} of {BUCKETS} buckets served{moving}"
    wanted = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in data["wanted"].items())
    return (
        f"{'ready' if data['ready'] else 'not ready'}: {served},"
        f" {markets} markets, {memory:.0f} MB, {data['restarts']} restarts\nwanted: {wanted}"
    )


def _nodes(data: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("node", "host", "roles", ""):
        table.add_column(name)
    for node in sorted(data["nodes"], key=lambda one: (not one["head"], one["host"], one["id"])):
        here = Counter(one["role"] for one in data["instances"] if one["node"] == node["id"])
        roles = ", ".join(role if n == 1 else f"{role} x{n}" for role, n in sorted(here.items()))
        note = f"refused: {node['refused']}" if node["refused"] else "head" * node["head"]
        table.add_row(node["id"][:NODE_DIGITS], node["host"], roles, note)
    return table


def _roles(data: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("slot")
    table.add_column("node")
    for name in ("pid", "port", "MB", "mailbox", "behind"):
        table.add_column(name, justify="right")
    table.add_column("")
    listeners = [data["roles"].get(one["slot"]) for one in _of(data, "listener")]
    tip = next((one["tip"] for one in listeners if one), None)
    for one in sorted(data["instances"], key=lambda row: (row["role"], row["slot"])):
        row = _row(one, data["roles"].get(one["slot"]), tip)
        note = "" if one["slot"] in data["slots"] else "leaves; "
        table.add_row(*row[:-1], note + row[-1])
    for slot in sorted(set(data["slots"]) - {one["slot"] for one in data["instances"]}):
        table.add_row(slot, *[""] * 6, f"starts; {data['failing'].get(slot, '')}".strip("; "))
    return table


def _row(
    one: Mapping[str, Any], status: Mapping[str, Any] | None, tip: int | None
) -> tuple[str, ...]:
    lag = lag_blocks(one["role"], status, tip)
    shared = (
        one["slot"],
        one["node"][:NODE_DIGITS],
        str(one["pid"]),
        str((status or {}).get("port") or one["port"] or ""),
    )
    if status is None:
        return (*shared, "", "", "", "does not answer")
    names = SHOWN.get(one["role"], tuple(_counters(status))[:OTHERS_SHOWN])
    told = "  ".join(f"{name} {status[name]}" for name in names if _is_shown(name, status))
    return (
        *shared,
        f"{status['memory_mb']:.0f}",
        str(status["mailbox"]),
        "" if lag is None else str(lag),
        told,
    )


def _is_shown(name: str, status: Mapping[str, Any]) -> bool:
    return bool(status.get(name)) if name in SHOWN_ABOVE_ZERO else status.get(name) is not None


def _counters(status: Mapping[str, Any]) -> list[str]:
    of_process = ("mailbox", "memory_mb")
    return [
        name
        for name, value in status.items()
        if name not in of_process and isinstance(value, int | float | str)
    ]


def _of(data: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    return [one for one in data["instances"] if one["role"] == role]
