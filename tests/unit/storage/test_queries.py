import re
from pathlib import Path

import pytest

from storage import queries

ROOT = Path(queries.__file__).parent
CODE = "\n".join(path.read_text() for path in ROOT.glob("*.py"))
FILES = sorted(path.stem for path in (ROOT / "sql").glob("*.sql"))


def test_parse_gives_each_query_by_its_name():
    text = "-- a file\n\n-- name: one\n-- why\nSELECT 1\n\n-- name: two\nSELECT 2\n"
    assert queries.parse(text) == {"one": "-- why\nSELECT 1", "two": "SELECT 2"}


@pytest.mark.parametrize("text", ["-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "-- name: a\n"])
def test_parse_doubled_or_empty_name_is_refused(text):
    with pytest.raises(ValueError, match="Expected"):
        queries.parse(text)


@pytest.mark.parametrize("file", FILES)
def test_every_query_is_used_and_takes_arguments_without_a_gap(file):
    for name, sql in queries.load(file).items():
        assert f'"{name}"' in CODE, f"{file}.{name} is not used"
        numbers = {int(number) for number in re.findall(r"\$(\d+)", sql)}
        assert numbers == set(range(1, len(numbers) + 1)), name


@pytest.mark.parametrize("script", ["publish", "counted", "sample", "take_rate"])
def test_every_script_is_there(script):
    assert "redis.call" in queries.lua(script)
