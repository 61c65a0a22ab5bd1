"""What a figure was measured on."""

import os
import sys


def load_average() -> list[float]:
    """Of the last one, five and fifteen minutes: who else used the cores."""
    return [round(one, 2) for one in os.getloadavg()]


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)
