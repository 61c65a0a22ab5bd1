"""What the rows of a cluster know of the system is what was just seen of it."""

from types import SimpleNamespace

from tests.chaos.cluster import SMALL, Clustered
from tests.support.running import CommandFailed

SEEN = {"ready": True, "instances": [{"node": "a", "role": "shard", "pid": 7}], "nodes": []}


async def test_status_that_cannot_be_read_is_not_the_one_before(monkeypatch):
    monkeypatch.setattr("tests.chaos.cluster.LOOK_S", 0)
    answers = [(0, SEEN), (1, {"error": "away"}), (0, SEEN), CommandFailed("away"), (0, SEEN)]

    def cli(*_, **__):
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    system = SimpleNamespace(cli=cli)
    one = Clustered(
        nodes=SimpleNamespace(nodes=["a"]),
        system=system,
        chain=None,
        anvil=None,
        size=SMALL,
        load=None,
        straight=None,
        first=0,
    )
    assert await one.look() == one.status == SEEN and len(one.on("a", "shard")) == 1
    assert not await one.ready()
    assert not one.status["instances"] and not one.on("a", "shard") and not one.doors()
    assert await one.ready()
    assert not await one.ready() and not one.status["instances"]
    assert await one.ready()
