"""The receipts root of a block from the JSON of all its receipts, in any order."""

from collections.abc import Sequence
from typing import Any

from chain import receipts
from chain.decode import raw_log


def root_of(told: Sequence[dict[str, Any]]) -> bytes:
    return receipts.root_of(
        [
            receipts.encoded(one, [raw_log(log) for log in one["logs"]])
            for one in receipts.in_order(told)
        ]
    )
