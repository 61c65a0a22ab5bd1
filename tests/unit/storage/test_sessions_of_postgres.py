"""No statement of ours leaves anything in a session: connections are given back as they are."""

import re
from pathlib import Path

STORAGE = Path(__file__).parents[3] / "storage"
OF_A_SESSION = re.compile(
    r"\bSET\s+(?:SESSION\s+)?(?:\w*timeout|work_mem|jit|timezone|search_path|role|enable_\w+)\b"
    r"|\bpg_(?:try_)?advisory_lock|\bLISTEN\s+\w|\bCREATE\s+TEMP|\bPREPARE\s+\w"
    r"|set_config\([^()]*,\s*false\s*\)",
    re.IGNORECASE,
)


def test_what_a_session_would_keep_is_found():
    for kept in (
        "SET statement_timeout = 0",
        "SET SESSION jit TO off",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock(1)",
        "LISTEN ticks",
        "CREATE TEMPORARY TABLE a ()",
        "SELECT set_config('jit', 'off', false)",
    ):
        assert OF_A_SESSION.search(kept), kept
    for passing in ("SET LOCAL jit = off", "SELECT pg_advisory_xact_lock(1)", "UPDATE a SET b = c"):
        assert not OF_A_SESSION.search(passing), passing


def test_nothing_of_a_session_is_changed():
    files = [*STORAGE.glob("*.py"), *STORAGE.glob("sql/*.sql")]
    assert len(files) > 40
    found = {
        file.name: match[0]
        for file in files
        if (match := OF_A_SESSION.search(file.read_text(encoding="utf-8")))
    }
    assert not found
