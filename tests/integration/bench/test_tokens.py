"""The bench of the number of tokens, small: a real shard recovers them and answers."""

import json
import subprocess
import sys

RUN = """
import json
from bench import tokens
from bench.quotes import Effort
from bench.results import Results
tokens.SIZES = (10, 40)
results = Results()
tokens.run(results, Effort(alternations=1, seconds=0.3, grid=False), lambda text: None)
print(json.dumps({"figures": results.figures, "runs": len(results.runs)}))
"""


def test_every_figure_of_both_sizes_is_there() -> None:
    # In a process of its own: Ray reads its environment once, when it is imported.
    done = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    found = json.loads(done.stdout.decode().splitlines()[-1])
    expected = {
        f"tokens_{size}_{name}"
        for size in (10, 40)
        for name in ("recovery_s", "memory_bytes_per_market")
    }
    for demand in ("uniform", "zipf"):
        for name in ("quotes_per_s", "p50_us"):
            expected |= {f"tokens_{size}_{demand}_{name}" for size in (10, 40)}
            expected.add(f"tokens_40_{demand}_{name}_vs_10")
    assert found["figures"].keys() == expected
    assert found["runs"] == 4
    assert all(value > 0 for name, value in found["figures"].items() if "memory" not in name)
