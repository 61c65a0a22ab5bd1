"""Who owns which bucket: higher incarnations win, what is not claimed is forgotten."""

from engine.limits import BUCKETS
from engine.messages import BucketOwner
from engine.ownership import Ownership


def known(*rows):
    ownership = Ownership()
    ownership.hear(BucketOwner(*row) for row in rows)
    return ownership


def test_hear_higher_incarnation_replaces_and_lower_or_equal_never_does():
    ownership = known((1, "a", 2))
    assert not ownership.hear([BucketOwner(1, "b", 1), BucketOwner(1, "b", 2)])
    assert ownership.names == {"a"}
    assert ownership.hear([BucketOwner(1, "b", 3)])
    assert ownership.rows == (BucketOwner(1, "b", 3),)


def test_forget_unclaimed_takes_only_what_an_owner_that_spoke_does_not_have():
    ownership = known((1, "a", 1), (2, "a", 5), (3, "b", 1))
    assert ownership.forget_unclaimed({"a": {1: 1, 2: 4}}) == 1
    assert ownership.of({"a", "b"}) == {1, 3}


def test_superseded_names_who_claims_what_another_has_newer():
    ownership = known((1, "a", 1), (2, "b", 1))
    claims = {"a": {1: 1}, "c": {2: 1}, "d": {1: 0}}
    ownership.hear_claims(claims)
    assert ownership.superseded(claims) == {"d"}


def test_misplaced_counts_buckets_of_nobody_and_of_another_shard():
    ownership = known((0, "a", 1), (1, "b", 1))
    shares = [("a", frozenset(range(512))), ("b", frozenset(range(512, BUCKETS)))]
    assert ownership.misplaced(shares) == BUCKETS - 1
    assert ownership.misplaced([]) == BUCKETS


def test_owners_of_names_nobody_for_a_bucket_without_owner():
    assert known((1, "a", 1)).owners_of({1, 2}) == {"a"}
