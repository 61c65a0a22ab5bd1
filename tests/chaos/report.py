"""Rows of the report and the verdict over them."""

import os
import platform
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from deploy.process import kept_environment

FAILED_SHOWN = 10


@dataclass
class Row:
    """One promise in one part. `trials_min` holds for runs that are not short."""

    promise: str
    part: str
    trials_min: int = 1
    trials: int = 0
    failures: int = 0
    figure: dict[str, Any] = field(default_factory=dict)
    planted: int = 0
    caught: int = 0
    failed: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        """One more failure; the first few are kept as text."""
        self.failures += 1
        if len(self.failed) < FAILED_SHOWN:
            self.failed.append(what)
        print(f"  FAILED {self.part}: {what}", flush=True)

    def plant(self, what: str, *, caught: bool) -> None:
        """A bug was put in; whether the part's own check saw it."""
        self.planted += 1
        self.caught += caught
        if not caught:
            self.fail(f"planted and not caught: {what}")


class Report:
    """What is written to `chaos-report.json`."""

    def __init__(
        self,
        *,
        seed: int,
        duration_s: float,
        short: bool,
        only: str = "",
        quote_path: str = "replica",
    ) -> None:
        self._only = {name.strip() for name in only.split(",") if name.strip()}
        self.seed = seed
        self.duration_s = duration_s
        self.short = short
        self.quote_path = quote_path
        self.rows: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}
        self.broken: list[str] = []
        self.elsewhere: list[str] = []
        self._minima: list[tuple[str, int, int]] = []
        self._began = time.monotonic()

    @property
    def quotes_back_s(self) -> float:
        """What is a failure: in a short run beside other tests only what does not come back."""
        return 40.0 if self.short else 6.0

    @property
    def pause_s_max(self) -> float:
        """Of a bucket's quotes while it moves, as `quotes_back_s`."""
        return 10.0 if self.short else 1.0

    def wants(self, part: str) -> bool:
        """Whether this part was asked for."""
        return not self._only or part in self._only

    def names(self, part: str) -> bool:
        """Whether this part was asked for by its name."""
        return part in self._only

    def add(self, *rows: Row) -> None:
        for row in rows:
            self._minima.append((row.part, row.trials, row.trials_min))
            self.add_values({k: v for k, v in asdict(row).items() if k != "trials_min"})

    def add_values(self, *rows: dict[str, Any]) -> None:
        """Rows that are dicts already, of other suites."""
        for row in rows:
            self.rows.append(row)
            say(
                f"{row['part']}: {row['trials']} trials, {row['failures']} failures,"
                f" {row['caught']} of {row['planted']} planted caught, {row['figure']}"
            )

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Times a part; one that breaks is a failure, and the others go on, with the environment
        that it had.
        """
        began = time.monotonic()
        say(f"{name} ...")
        try:
            with kept_environment():
                yield
        except Exception as error:
            self.broken.append(f"{name}: {error!r}"[:2000])
            say(f"BROKEN {name}: {error!r}")
            traceback.print_exc()
        except BaseException as error:
            # The run ends here: what was not run is not shown to hold.
            self.broken.append(f"{name}: ended by {error!r}, and nothing after it was run")
            raise
        finally:
            self.seconds[name] = round(time.monotonic() - began, 1)

    @property
    def lacking(self) -> list[str]:
        """Parts with fewer trials than promised; in a short run, with none at all."""
        return [
            f"{part}: {trials} of {least} trials"
            for part, trials, least in self._minima
            if trials < (1 if self.short else least)
        ]

    def document(self) -> dict[str, Any]:
        totals = {
            name: sum(row[name] for row in self.rows)
            for name in ("trials", "failures", "planted", "caught")
        }
        ok = totals["failures"] == 0 and totals["planted"] == totals["caught"]
        return {
            "seed": self.seed,
            "duration_s": self.duration_s,
            "short": self.short,
            "quote_path": self.quote_path,
            "seconds": round(time.monotonic() - self._began, 1),
            "parts_s": self.seconds,
            "machine": {
                "cores": os.cpu_count(),
                "load_1m": round(os.getloadavg()[0], 2),
                "system": f"{platform.system()} {platform.machine()}",
                "python": platform.python_version(),
            },
            "rows": self.rows,
            **totals,
            "lacking": self.lacking,
            "broken": self.broken,
            "elsewhere": self.elsewhere,
            "ok": ok and bool(self.rows) and not self.lacking and not self.broken,
        }

    def write(self, file: Path) -> bool:
        """Whether all is well."""
        document = self.document()
        file.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        return bool(document["ok"])


_BEGAN = time.monotonic()


def say(line: str) -> None:
    """A line of progress."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {line}", flush=True)
