"""Whether a chain's finality can be relied on: only a tag that is seen to move opens the bridge.

A node may answer `finalized` with nothing, with block 0 for ever, or with a block that stands
still because the chain has stopped finalising. In each case nothing is attested or released:
  1. no tag was ever seen: closed;
  2. one was, and never moved: closed;
  3. it moved, and the last move is younger than the patience: open;
  4. older: closed until it moves again.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class FinalityGate:
    """Of one chain. `patience_s` in seconds of the caller's clock."""

    chain_id: int
    patience_s: float
    number: int = -1
    moved_at: float | None = None

    def noted(self, number: int, now: float) -> "FinalityGate":
        """The tag was read. A lower number is a lagging node's, and says nothing."""
        if number <= self.number:
            return self
        moved_at = None if self.number < 0 else now
        return replace(self, number=number, moved_at=moved_at)

    def closed_because(self, now: float) -> str:
        """Why nothing may go through, empty if it may."""
        if self.number < 0:
            return f"Expected a finalized tag of chain {self.chain_id}, was none"
        if self.moved_at is None:
            return (
                f"Expected the finalized tag of chain {self.chain_id} to move on, was still at"
                f" {self.number}"
            )
        if now - self.moved_at > self.patience_s:
            return (
                f"Expected the finalized tag of chain {self.chain_id} to move within"
                f" {self.patience_s:.0f} s, was still at {self.number}"
            )
        return ""
