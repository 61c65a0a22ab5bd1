"""What a new supervisor makes of the actors that are there already.

Whoever launched them has died, perhaps in the middle of that: what it knew of them is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine.control import Instance, Pong

SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Found:
    """Actors of a namespace: who answers, and of the others what is known without their word."""

    answering: tuple[Pong, ...]
    silent: tuple[Instance, ...] = ()
    """Their slots stand in their names; no role, and a process only where it could be seen."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """Who is looked after from now on, by slot, and who is ended before its slot is filled."""

    kept: Mapping[str, Instance]
    ended: tuple[Instance, ...]


def adopt(found: Found, slots: Mapping[str, str]) -> Adoption:
    """In this order, supervisors left out, `slots` being the wanted ones and their roles:

    1. who answers, with its role built, keeps its slot; where that is wanted no more it is
       retired, as if it had been scaled away now;
    2. who does not answer keeps a wanted slot that nobody has: it may be busy, and is given up
       like anybody who falls silent;
    3. all others are ended: the second of a slot, one that nobody knows what to do with, and one
       whose role is not built, since nobody is there any more who would ask it to.
    """
    kept: dict[str, Instance] = {}
    ended: list[Instance] = []
    roles = set(slots.values())
    for pong in found.answering:
        one = pong.instance
        if one.role == SUPERVISOR:
            continue
        if pong.started and one.role in roles and one.slot not in kept:
            kept[one.slot] = one
        else:
            ended.append(one)
    for one in found.silent:
        if one.slot == SUPERVISOR:
            continue
        if one.slot in slots and one.slot not in kept:
            kept[one.slot] = replace(one, role=slots[one.slot])
        else:
            ended.append(one)
    return Adoption(kept, tuple(ended))
