"""The demo's watcher counts what is missing in a topic, and nothing else."""

from typing import Any

from deploy.demo.tally import Tally
from deploy.demo.watcher import Watcher


def message(seq: int, generation: str = "g", **fields: Any) -> dict[str, Any]:
    return {"topic": "t", "seq": seq, "generation": generation, "data": {}} | fields


async def test_price_that_stands_for_others_is_no_gap_and_a_hole_is_one() -> None:
    tally = Tally()
    watcher = Watcher("http://127.0.0.1:1", tally)
    for one in (message(1), message(2), message(5, fromSeq=3), message(1, "h"), message(2, "h")):
        await watcher._retracted(one)
    assert (tally.retracted, tally.ticks, tally.tick_gaps) == (5, 5, 0)
    await watcher._retracted(message(5, "h", fromSeq=4))
    await watcher._retracted(message(7, "h"))
    assert tally.tick_gaps == 2
