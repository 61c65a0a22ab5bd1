"""The lines that the ratios must keep, ours over the peer's, from one run."""

from bench.stats import Gate

GATES = {
    gate.name: gate
    for gate in (
        Gate("stream_vs_node_socketio", least=1.5),
        Gate("stream_vs_node_ws", least=1.0),
        Gate("stream_actors_vs_node_socketio", least=0.8),
        Gate("stream_p50_vs_node_socketio_p50", most=1.2),
        Gate("stream_vs_node_redis", least=6.0),
        Gate("socketio_vs_python_socketio", least=3.0),
        Gate("rest_vs_express", least=0.8),
        Gate("fanout_cpu_vs_node", most=1.0),
    )
}

LOWER_IS_BETTER = ("stream_p50_vs_node_socketio_p50", "fanout_cpu_vs_node")
