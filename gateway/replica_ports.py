"""What the doors are handed of the read replica, where quotes come from one."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class Tally(Protocol):
    """Of `actors.replicas.Tally`, what metrics read."""

    @property
    def served(self) -> int: ...
    @property
    def passed(self) -> Mapping[str, int]: ...
    @property
    def edges_ms(self) -> Sequence[int]: ...
    @property
    def ages(self) -> Sequence[int]: ...
    @property
    def age_s_sum(self) -> float: ...


class Replicas(Protocol):
    """`actors.replicas`: told of what was named here, below which no later answer may fall."""

    @property
    def tally(self) -> Tally: ...
    def saw(self, token: bytes, version: tuple[int, int]) -> None: ...
    def mined(self, token: bytes, block_number: int) -> None: ...
