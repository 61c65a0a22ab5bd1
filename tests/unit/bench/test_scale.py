"""What asks at a steady pace sees wrong, lost and paused quotes, and whose bucket moved."""

import asyncio
from types import SimpleNamespace

from bench.scale import Paced, ranks
from gateway.client import StreamError

TOKENS = ["0x01", "0x02", "0x03"]


class Client:
    """A stream door whose answers a test spoils."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.amount = dict.fromkeys(TOKENS, 10)
        self.incarnation = dict.fromkeys(TOKENS, 1)
        self.refuses: set[str] = set()
        self.gates = {token: asyncio.Event() for token in TOKENS}
        for gate in self.gates.values():
            gate.set()

    async def quote(self, wanted):
        self.asked.append(wanted.token)
        await self.gates[wanted.token].wait()
        if wanted.token in self.refuses:
            raise StreamError("shard_unavailable", "Expected an owner")
        version = (str(self.incarnation[wanted.token]), "0")
        return SimpleNamespace(
            launch_fee_wei=0, amount_out_wei=self.amount[wanted.token], as_of={"version": version}
        )


async def asked(clients, spoil, *, pace_s=0.003) -> Paced:
    paced = Paced(clients, TOKENS, pace_s=pace_s)
    paced.start()
    await asyncio.sleep(0.05)
    paced.begin()
    await spoil()
    await asyncio.sleep(0.05)
    await paced.stop()
    return paced


async def test_quotes_that_are_right_and_stay_are_neither_wrong_nor_lost_nor_moved():
    one, other = Client(), Client()

    async def nothing():
        pass

    paced = await asked([one, other], nothing)
    assert paced.asked > 6 and paced.wrong == [] and paced.lost == 0 and paced.of_moved() == {}
    assert set(one.asked) == {"0x01", "0x03"} and set(other.asked) == {"0x02"}
    assert paced.of_others().keys() == set(TOKENS)


async def test_quote_of_another_amount_is_wrong():
    client = Client()

    async def spoil():
        client.amount["0x02"] += 1

    paced = await asked([client], spoil)
    assert paced.wrong and all(line == "0x02: 11, was 10" for line in paced.wrong)


async def test_quote_that_is_refused_is_lost_and_its_code_told():
    client = Client()

    async def spoil():
        client.refuses.add("0x01")

    paced = await asked([client], spoil)
    assert paced.lost == paced.codes["shard_unavailable"] > 0


async def test_pause_of_a_bucket_that_moves_is_its_longest_time_without_an_answer():
    client = Client()

    async def spoil():
        client.gates["0x01"].clear()
        await asyncio.sleep(0.1)
        client.incarnation["0x01"] = 2
        client.gates["0x01"].set()
        await asyncio.sleep(0.05)

    paced = Paced([client], TOKENS, pace_s=0.003)
    paced.start()
    await asyncio.sleep(0.05)
    paced.begin()
    await asyncio.sleep(0.02)
    await spoil()
    moved, others = paced.of_moved(), paced.of_others()
    await paced.stop()
    assert moved.keys() == {"0x01"} and moved["0x01"] >= 0.1
    assert others.keys() == {"0x02", "0x03"} and paced.lost == 0


def test_ranks_are_by_nearest_rank():
    assert ranks([3.0, 1.0, 2.0]) == {"p50": 2.0, "p99": 3.0, "max": 3.0}
    assert ranks([float(n) for n in range(200)])["p99"] == 198.0
