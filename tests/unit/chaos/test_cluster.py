"""What the rows of a cluster know of the system is what was just seen of it."""

from types import SimpleNamespace

from tests.chaos.cluster import SMALL, Clustered

SEEN = {"ready": True, "instances": [{"node": "a", "role": "shard", "pid": 7}], "nodes": []}


async def test_status_that_cannot_be_read_is_not_the_one_before(monkeypatch):
    monkeypatch.setattr("tests.chaos.cluster.LOOK_S", 0)
    answers = [(0, SEEN), (1, {"error": "away"}), (0, SEEN)]
    system = SimpleNamespace(cli=lambda *_, **__: answers.pop(0))
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
