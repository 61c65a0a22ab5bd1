"""The verdict of the fault suite: what makes it say that not all is well."""

import os
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from tests.chaos import contracts
from tests.chaos.report import Report, Row
from tests.chaos.strain import slope_mb_min
from tests.support.load import percentiles


def report(*rows: Row, short: bool = False) -> Report:
    made = Report(seed=1, duration_s=900, short=short)
    made.add(*rows)
    return made


def row(**fields: int) -> Row:
    values = {"trials_min": 10, "trials": 10, "planted": 2, "caught": 2} | fields
    return Row("promise", "part", **values)  # type: ignore[arg-type]


def test_report_whole_run_without_failures_is_well(tmp_path: Path) -> None:
    assert report(row(), row()).write(tmp_path / "out.json")
    written = orjson.loads((tmp_path / "out.json").read_bytes())
    assert (written["trials"], written["planted"], written["caught"]) == (20, 4, 4)
    assert set(written["rows"][0]) == {
        *("promise", "part", "trials", "failures", "figure", "planted", "caught", "failed")
    }


@pytest.mark.parametrize(
    "fields", [{"failures": 1}, {"caught": 1}, {"trials": 9}, {"trials": 0, "trials_min": 0}]
)
def test_report_failure_or_lack_is_not_well(fields: dict[str, int]) -> None:
    well = fields.get("trials_min") == 0  # nothing was promised of this one
    assert report(row(), row(**fields)).document()["ok"] is well


def test_report_short_run_needs_a_trial_of_each_only() -> None:
    assert report(row(trials=1), short=True).document()["ok"]
    assert not report(row(trials=0), short=True).document()["ok"]


def test_report_part_that_breaks_is_not_well_and_the_next_goes_on() -> None:
    made = report(row())
    with made.part("broken"):
        raise RuntimeError("the harness itself")
    with made.part("next"):
        made.add(row())
    assert not made.document()["ok"] and len(made.rows) == 2
    assert "the harness itself" in made.broken[0]


def test_report_part_does_not_change_the_environment_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEFORE", "it")
    made = report()
    with made.part("first"):
        os.environ["BEFORE"] = "the first part"
        os.environ["RAY_AUTH_TOKEN_PATH"] = "/of/a/folder/that/is/gone"
        raise RuntimeError("the harness itself")
    assert os.environ["BEFORE"] == "it" and "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_report_run_that_is_ended_says_so_and_is_not_well() -> None:
    made = report(row())
    with pytest.raises(SystemExit), made.part("the longest"):
        raise SystemExit(143)
    assert not made.document()["ok"] and "the longest: ended by" in made.broken[0]


def test_report_without_rows_is_not_well() -> None:
    assert not report().document()["ok"]


def test_row_planted_bug_that_is_missed_is_a_failure() -> None:
    made = row()
    made.plant("seen", caught=True)
    assert (made.planted, made.caught, made.failures) == (3, 3, 0)
    made.plant("unseen", caught=False)
    assert (made.planted, made.caught, made.failures) == (4, 3, 1)


def test_contracts_row_sums_what_tests_recorded_and_names_what_failed() -> None:
    xml = """<testsuite>
      <testcase name="a"><properties><property name="trials" value="7"/></properties></testcase>
      <testcase name="b"><properties><property name="trials" value="5"/>
        <property name="mismatches" value="0"/><property name="planted" value="1"/>
        </properties></testcase>
      <testcase name="c"><failure/></testcase>
      <testcase name="d"><skipped/></testcase>
    </testsuite>"""
    made = Row("promise", "part")
    contracts.fill(made, ElementTree.fromstring(xml).iter("testcase"))
    assert (made.trials, made.planted, made.caught) == (12, 1, 0)
    assert made.failed == ["c", "d"] and made.figure == {"mismatches": 0, "tests": 4}


def test_slope_sees_growth_and_not_the_warm_up() -> None:
    grows = [(float(t), 100 + t / 60) for t in range(100)]
    assert slope_mb_min(grows) == pytest.approx(1.0)
    warms = [(float(t), 100.0 + min(t, 30)) for t in range(100)]
    assert slope_mb_min(warms) == pytest.approx(0.0)


def test_percentiles_are_of_the_values_and_none_of_nothing() -> None:
    assert percentiles([]) == {}
    assert percentiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p99": 3.0, "max": 3.0}
