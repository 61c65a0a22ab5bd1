"""Which shard owns which bucket, as far as somebody has heard; what follows from it.

Claims are what shards say of themselves: name → bucket → incarnation.
"""

from collections.abc import Collection, Iterable, Mapping

from engine.limits import BUCKETS
from engine.messages import BucketOwner

Claims = Mapping[str, Mapping[int, int]]


class Ownership:
    """Of each bucket the owner with the highest incarnation that was heard of."""

    def __init__(self) -> None:
        self._owners: dict[int, BucketOwner] = {}

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def rows(self) -> tuple[BucketOwner, ...]:
        """All, by bucket."""
        return tuple(self._owners[bucket] for bucket in sorted(self._owners))

    @property
    def names(self) -> frozenset[str]:
        """Everybody who owns something."""
        return frozenset(owner.owner for owner in self._owners.values())

    def hear(self, owners: Iterable[BucketOwner]) -> bool:
        """Whether something was new; a lower incarnation never is."""
        new = False
        for owner in owners:
            known = self._owners.get(owner.bucket)
            if known is None or known.incarnation < owner.incarnation:
                self._owners[owner.bucket] = owner
                new = True
        return new

    def hear_claims(self, claims: Claims) -> bool:
        """As `hear`."""
        return self.hear(
            BucketOwner(b, name, i) for name, held in claims.items() for b, i in held.items()
        )

    def forget_unclaimed(self, claims: Claims) -> int:
        """Forget what an owner that spoke did not claim; how many buckets."""
        unclaimed = [
            owner.bucket
            for owner in self._owners.values()
            if owner.owner in claims and claims[owner.owner].get(owner.bucket) != owner.incarnation
        ]
        for bucket in unclaimed:
            del self._owners[bucket]
        return len(unclaimed)

    def superseded(self, claims: Claims) -> set[str]:
        """Who claims what somebody else has with a higher incarnation."""
        return {
            name
            for name, held in claims.items()
            for bucket, incarnation in held.items()
            if incarnation < self._owners[bucket].incarnation
        }

    def of(self, names: Collection[str]) -> frozenset[int]:
        """The buckets that these own."""
        return frozenset(o.bucket for o in self._owners.values() if o.owner in names)

    def owners_of(self, buckets: Iterable[int]) -> set[str]:
        """Who owns these buckets, as far as somebody does."""
        return {self._owners[bucket].owner for bucket in buckets if bucket in self._owners}

    def misplaced(self, shares: Iterable[tuple[str, frozenset[int]]]) -> int:
        """How many buckets are not owned by whom `shares` gives them to."""
        placed = 0
        for name, share in shares:
            owners = (self._owners.get(bucket) for bucket in share)
            placed += sum(owner is not None and owner.owner == name for owner in owners)
        return BUCKETS - placed
