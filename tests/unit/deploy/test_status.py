"""What `risecurve status` shows a human."""

from deploy import status

NODE_A, NODE_B = "a" * 56, "b" * 56
DATA = {
    "ready": False,
    "restarts": 2,
    "buckets_owned": 1024,
    "wanted": {"shards": 2, "gateways": 1, "stream_gateways": 0},
    "slots": ["gateway-0", "keeper", "listener", "recorder", "shard-0", "shard-1"],
    "failing": {"keeper": "Expected a key"},
    "nodes": [
        {"id": NODE_B, "host": "10.0.0.2", "head": False, "refused": "runs build 1, expected 2"},
        {"id": NODE_A, "host": "10.0.0.1", "head": True, "refused": ""},
    ],
    "instances": [
        {"slot": slot, "role": slot.split("-")[0], "name": slot, "pid": 10 + index,
         "node": NODE_A, "host": "10.0.0.1", "port": 3000 * (slot == "gateway-0")}
        for index, slot in enumerate(("listener", "recorder", "shard-0", "shard-1", "gateway-0"))
    ],
    "roles": {
        "listener": {"tip": 100, "connected": True, "mailbox": 0, "memory_mb": 110.0},
        "recorder": {"block": 99, "events": 7, "mailbox": 0, "memory_mb": 120.0},
        "shard-0": {"block": 95, "buckets": 512, "markets": 40, "mailbox": 3, "memory_mb": 130.0},
        "shard-1": None,
        "gateway-0": {"port": 3000, "refused_stale": 0, "mailbox": 0, "memory_mb": 140.0},
    },
}  # fmt: skip


def line(text: str, begins: str) -> str:
    (found,) = [one for one in text.splitlines() if one.startswith(begins)]
    return found


def test_text_shows_lag_mailbox_memory_and_who_is_silent():
    text = status.text(DATA)
    assert text.splitlines()[0].startswith("not ready: 1024 of 1024 buckets served, 40 markets")
    assert line(text, "shard-0").split()[2:7] == ["12", "130", "3", "5", "buckets"]
    assert "does not answer" in line(text, "shard-1")
    assert line(text, "recorder").split()[2:6] == ["11", "120", "0", "1"]
    assert "3000" in line(text, "gateway-0")
    assert "Expected a key" in line(text, "keeper")


def test_text_says_how_many_buckets_are_to_move_while_there_are_some():
    moving = status.text({**DATA, "buckets_to_move": 256})
    assert moving.startswith("not ready: 1024 of 1024 buckets served, 256 of them to move, 40")
    assert "to move" not in status.text({**DATA, "buckets_to_move": 0})


def test_text_says_what_a_shard_has_prepared_while_there_is_some():
    shard = DATA["roles"]["shard-0"]
    roles = {n: {**DATA["roles"], "shard-0": {**shard, "buckets_prepared": n}} for n in (0, 256)}
    assert "buckets_prepared 256" in line(status.text({**DATA, "roles": roles[256]}), "shard-0")
    assert "prepared" not in status.text({**DATA, "roles": roles[0]})


def test_text_says_who_leaves():
    slots = [slot for slot in DATA["slots"] if slot != "shard-0"]
    leaving = status.text({**DATA, "slots": slots})
    assert line(leaving, "shard-0").split()[6] == "leaves;"
    assert "leaves" not in status.text(DATA)


def test_text_shows_nodes_where_there_are_several():
    text = status.text(DATA)
    assert "shard x2" in line(text, NODE_A[:8]) and line(text, NODE_A[:8]).endswith("head")
    assert "refused: runs build 1" in line(text, NODE_B[:8])
    assert NODE_A[:8] + "  10." not in status.text({**DATA, "nodes": DATA["nodes"][1:]})


def test_lag_is_of_those_who_follow_the_chain():
    assert status.lag_blocks("shard", {"block": 90}, 100) == 10
    assert status.lag_blocks("shard", {"block": 101}, 100) == 0
    assert status.lag_blocks("keeper", {"block": 90}, 100) is None
    assert status.lag_blocks("shard", None, 100) is None
    assert status.lag_blocks("shard", {"block": -1}, 100) is None
    assert status.lag_blocks("recorder", {"block": -1}, 100) == 101
