"""A read replica that keeps what it was told."""

from actors.replicas import Tally


class FakeReplicas:
    """`seen` are versions that were named, `blocks` those of receipts."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.seen: list[tuple[bytes, tuple[int, int]]] = []
        self.blocks: list[tuple[bytes, int]] = []

    def saw(self, token: bytes, version: tuple[int, int]) -> None:
        self.seen.append((token, version))

    def mined(self, token: bytes, block_number: int) -> None:
        self.blocks.append((token, block_number))
