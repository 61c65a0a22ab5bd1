"""The contracts' own suites, run as they are; their figures are what they record."""

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.chaos.report import Row

FOLDER = Path("tests/integration/chain")
TIMEOUT_S = 900.0
SUMMED = ("trials", "planted", "caught")


@dataclass(frozen=True)
class Suite:
    """One file. Its trials are those it records, never fewer than `trials_min`."""

    file: str
    promise: str
    part: str
    trials_min: int


SUITES = (
    Suite(
        "test_differential.py",
        "quote = contract, to the wei",
        "curves against the contract",
        10_000,
    ),
    Suite(
        "test_pool_differential.py",
        "quote = contract, to the wei",
        "pool against the contract",
        7_000,
    ),
    Suite(
        "test_solvency.py",
        "the curve never pays out too much",
        "random calls on anvil",
        800,
    ),
    Suite(
        "test_graduation_matrix.py",
        "graduation cannot be blocked or mispriced",
        "graduation matrix",
        128,
    ),
)


async def rows(folder: Path) -> list[Row]:
    """A row of each suite."""
    return [await _row(suite, folder / f"{suite.file}.xml") for suite in SUITES]


async def _row(suite: Suite, out: Path) -> Row:
    row = Row(suite.promise, suite.part, trials_min=suite.trials_min)
    command = (sys.executable, "-m", "pytest", str(FOLDER / suite.file), f"--junitxml={out}")
    process = await asyncio.create_subprocess_exec(
        *command,
        *("-o", "junit_family=xunit1"),  # the one that keeps what a test records
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            told, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        row.fail(f"{suite.file} did not end in {TIMEOUT_S} s")
        return row
    fill(row, await asyncio.to_thread(_cases, out))
    if process.returncode and not row.failures:
        row.fail(told.decode()[-500:])
    return row


def _cases(out: Path) -> list[ElementTree.Element]:
    if not out.exists():
        return []
    return list(ElementTree.parse(out).getroot().iter("testcase"))


def fill(row: Row, cases: Iterable[ElementTree.Element]) -> None:
    """Sums of what the tests recorded, and every test that did not pass."""
    tests = 0
    for case in cases:
        tests += 1
        for one in case.iter("property"):
            name, value = one.get("name", ""), int(one.get("value", "0"))
            if name in SUMMED:
                setattr(row, name, getattr(row, name) + value)
            else:
                row.figure[name] = row.figure.get(name, 0) + value
        if any(case.find(kind) is not None for kind in ("failure", "error", "skipped")):
            row.fail(f"{case.get('name')}")
    row.figure["tests"] = tests
