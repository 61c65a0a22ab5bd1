"""Actors are spread over nodes, doors over hosts and ports."""

from engine import placement
from engine.control import Instance, Wanted
from engine.placement import Node

NODES = [Node("a", "10.0.0.1", head=True), Node("b", "10.0.0.2"), Node("c", "10.0.0.3")]


def place(roles, nodes=NODES):
    placed = []
    for index, role in enumerate(roles):
        node = placement.choose(nodes, placed, role)
        port = placement.port(placed, node.host, 3000)
        placed.append(Instance(f"{role}-{index}", role, str(index), 1, node.id, node.host, port))
    return placed


def test_choose_spreads_each_role_over_the_nodes():
    placed = place(["listener", "recorder", *["shard"] * 6, *["gateway"] * 3])
    for role, each in (("shard", 2), ("gateway", 1)):
        nodes = [one.node for one in placed if one.role == role]
        assert {nodes.count(node.id) for node in NODES} == {each}
    assert placed[0].node != placed[1].node


def test_choose_gives_a_refused_node_nothing():
    nodes = [NODES[0], Node("b", "10.0.0.2", refused="runs another build")]
    assert {one.node for one in place(["shard"] * 4, nodes)} == {"a"}
    assert placement.choose(nodes[1:], [], "shard") is None


def test_choose_puts_the_supervisor_on_the_head_where_that_is_usable():
    crowd = place(["shard"] * 3, NODES[:1])
    assert placement.choose(NODES, crowd, "supervisor") == NODES[0]
    without = [Node("a", "10.0.0.1", head=True, refused="does not answer"), NODES[1]]
    assert placement.choose(without, [], "supervisor") == NODES[1]


def test_port_counts_up_on_one_host_and_begins_anew_on_another():
    one_machine = [Node("a", "10.0.0.1"), Node("b", "10.0.0.1"), Node("c", "10.0.0.3")]
    placed = place(["gateway"] * 4, one_machine)
    ports = sorted((one.host, one.port) for one in placed)
    assert ports[:2] == [("10.0.0.1", 3000), ("10.0.0.1", 3001)]
    assert len(set(ports)) == 4 and ("10.0.0.3", 3000) in ports
    assert placement.port([one for one in placed if one.port != 3000], "10.0.0.1", 3000) == 3000


def test_port_zero_stays_any_free_one():
    assert placement.port([], "10.0.0.1", 0) == 0


def test_scaled_names_as_many_slots_as_are_wanted():
    found = placement.scaled(Wanted(shards=2, gateways=1, stream_gateways=2))
    assert found == {
        "shard-0": "shard",
        "shard-1": "shard",
        "gateway-0": "gateway",
        "stream-0": "stream_gateway",
        "stream-1": "stream_gateway",
    }
    assert len(placement.scaled(Wanted(2, 1, 2), streams=False)) == 3


def test_displaced_moves_from_the_fullest_to_a_node_that_joined():
    placed = place(["shard"] * 6, NODES[:2])
    one = placement.displaced(NODES, placed, "shard")
    assert (one.slot, one.node) == ("shard-4", "a")
    assert placement.displaced(NODES, placed, "gateway") is None


def test_displaced_leaves_alone_what_cannot_be_evened_out():
    placed = place(["shard"] * 4)
    assert placement.displaced(NODES, placed, "shard") is None
    refused = [*NODES, Node("d", "10.0.0.4", refused="does not answer")]
    assert placement.displaced(refused, place(["shard"] * 6), "shard") is None
    assert placement.displaced([], placed, "shard") is None
