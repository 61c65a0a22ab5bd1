"""A system's roles finish what is begun, in an order in which nothing new comes meanwhile."""

import asyncio
from collections.abc import Sequence

from actors.ports import Launcher, Log
from engine.control import Drain, Instance

DOORS = ("gateway", "stream_gateway")
ORDER = (*DOORS, "listener", "shard", "recorder")


async def drain(
    instances: Sequence[Instance], launcher: Launcher, log: Log, *, timeout_s: float
) -> None:
    """Within `timeout_s`; who does not answer is told of, and no correctness rests on it."""
    for role in ORDER:
        ones = [one for one in instances if one.role == role]
        answers = await asyncio.gather(
            *(launcher.ask(one.name, Drain(), timeout_s=timeout_s / len(ORDER)) for one in ones),
            return_exceptions=True,
        )
        for one, answer in zip(ones, answers, strict=True):
            if isinstance(answer, BaseException):
                log.warning("role_not_drained", slot=one.slot, error=str(answer))
