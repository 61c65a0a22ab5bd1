"""Where a new actor goes: which node, and at which port a door listens there.

Actors of a role are spread: a node that dies takes as few of them as can be. A door comes
once a node as long as there are nodes without one; nodes of one machine, and a node that
gets a second door, count its port up from the configured one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.control import Instance, Wanted

PORTS_A_HOST = 256


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the cluster. `refused` says why it is given nothing, or is empty."""

    id: str
    host: str
    head: bool = False
    refused: str = ""


def choose(nodes: Sequence[Node], placed: Iterable[Instance], role: str) -> Node | None:
    """The node with the fewest of this role, then with the fewest of all; None: there is none.

    The supervisor goes to the head, whose death leaves nobody to start anything with anyway.
    """
    usable = [one for one in nodes if not one.refused]
    if role == "supervisor":
        usable = [one for one in usable if one.head] or usable
    there = list(placed)

    def weight(node: Node) -> tuple[int, int, str]:
        here = [one.role for one in there if one.node == node.id]
        return here.count(role), len(here), node.id

    return min(usable, key=weight, default=None)


def displaced(nodes: Sequence[Node], placed: Iterable[Instance], role: str) -> Instance | None:
    """One of this role that had better be elsewhere: its node has two more than another one has."""
    here: dict[str, list[Instance]] = {one.id: [] for one in nodes if not one.refused}
    for one in placed:
        if one.role == role and one.node in here:
            here[one.node].append(one)
    if not here:
        return None
    fullest, emptiest = max(here.values(), key=len), min(here.values(), key=len)
    if len(fullest) - len(emptiest) < 2:
        return None
    return max(fullest, key=lambda one: one.slot)


def port(placed: Iterable[Instance], host: str, first: int) -> int:
    """The lowest port from `first` up that no door on this host has; 0 stays 0, any free one."""
    if first == 0:
        return 0
    taken = {one.port for one in placed if one.host == host}
    return next(number for number in range(first, first + PORTS_A_HOST) if number not in taken)


def scaled(wanted: Wanted, *, streams: bool = True) -> dict[str, str]:
    """Slot to role of all that can be several. Without `streams` there is no stream door."""
    stream_gateways = wanted.stream_gateways if streams else 0
    return {
        **{f"shard-{index}": "shard" for index in range(wanted.shards)},
        **{f"gateway-{index}": "gateway" for index in range(wanted.gateways)},
        **{f"stream-{index}": "stream_gateway" for index in range(stream_gateways)},
    }
