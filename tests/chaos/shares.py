"""Which buckets changed hands when shards were lost: theirs, and no others."""

Owners = dict[int, tuple[str, int]]
"""Bucket to owner and incarnation."""


def changed_hands(before: Owners, after: Owners, names: set[str]) -> tuple[int, int]:
    """How many buckets changed hands, and how many the shards of these names had."""
    changed = sum(before[bucket][1] != after[bucket][1] for bucket in before)
    return changed, sum(owner in names for owner, _ in before.values())


def is_theirs(before: Owners, after: Owners, names: set[str]) -> bool:
    """Whether as many changed hands as these shards had, within a hundredth."""
    changed, share = changed_hands(before, after, names)
    return 0.99 <= changed / share <= 1.01
