"""SQL and Lua live in files of their own; this reads them.

A `.sql` file holds queries, each under a line `-- name: <snake_case>`. Lines between that
and the first line of SQL say what the query is for.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(name: str) -> Mapping[str, str]:
    """The queries of `storage/sql/<name>.sql` by name. Raises ValueError on a doubled name."""
    return parse((_ROOT / "sql" / f"{name}.sql").read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, str]:
    """Named queries of one file's text. Raises ValueError on a doubled or empty one."""
    parts = _NAME.split(text)
    names, bodies = parts[1::2], [body.strip() for body in parts[2::2]]
    if len(set(names)) != len(names):
        raise ValueError(f"Expected each query named once, was {names}")
    if not all(bodies):
        raise ValueError(f"Expected a query under each name, was an empty one among {names}")
    return dict(zip(names, bodies, strict=True))


@cache
def lua(name: str) -> str:
    """The script `storage/lua/<name>.lua`."""
    return (_ROOT / "lua" / f"{name}.lua").read_text(encoding="utf-8")
