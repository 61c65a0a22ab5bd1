"""Answers about referral and points."""

from typing import Any, Literal

from pydantic import Field

from gateway.fields import Strict
from gateway.replies.common import AddressText, Decimal, HashText, Page


class RefereesData(Strict):
    """Wallets that were brought, counted to 10,000."""

    level1: int
    level2: int


class OwedData(Strict):
    """What is owed; it is paid by a claim on the chain, which comes later."""

    eth: Decimal
    entries: int


class ReferralData(Strict):
    """Shares in basis points, of level 1 and 2."""

    code: str | None
    referrer: AddressText | None
    bound_at: str | None
    bind_until: str | None
    referees: RefereesData
    owed: OwedData
    fee_share_bps: list[int]
    points_share_bps: list[int]


class CodeData(Strict):
    """The wallet's code."""

    code: str


class ReferrerData(Strict):
    """Who brought the wallet."""

    referrer: AddressText


class CodeOwnerData(Strict):
    """Whose code it is; `name` of the profile."""

    code: str
    owner: AddressText
    name: str | None
    since: str


class RefereeData(Strict):
    """A wallet that was brought; ETH."""

    address: AddressText
    bound_at: str
    volume: Decimal
    shared: Decimal


class EarningData(Strict):
    """A share of the protocol's fee of one final trade."""

    key: str
    referee: AddressText
    level: int
    eth: Decimal
    token_address: AddressText
    tx_hash: HashText
    timestamp: int
    version: int
    status: Literal["owed"]


class PointsData(Strict):
    """`rank` is null beyond 10,000; `allocation` whole points of the season's pool. `pending` is
    of what is recorded up to `pendingBlock`, or was paid by the bridge, and not counted: a view,
    never in the ledger; a part of it where `pendingWhole` is false.
    """

    address: AddressText
    season: str
    points: Decimal
    by_rule: dict[str, Decimal]
    entries: int
    rank: int | None
    allocation: str
    pending: Decimal
    pending_by_rule: dict[str, Decimal]
    pending_block: int
    pending_whole: bool
    streak_days: int
    counted_block: int
    counted_time: int


class LeaderData(Strict):
    """A row of the leaderboard."""

    rank: int
    address: AddressText
    points: Decimal
    allocation: str


class LeaderboardData(Page[LeaderData]):
    """Of one season."""

    season: str


class LedgerRowData(Strict):
    """The hashed fields as they are hashed (`micro` millionths of a point), then `n`, the hash
    `chain` of all rows up to this one, and `points`.
    """

    key: str
    rule: str
    version: int
    season: str
    who: AddressText
    micro: int
    time: int
    because: str
    token: AddressText | None
    facts: dict[str, str]
    n: int
    chain: HashText
    points: Decimal


class ProofData(Strict):
    """`leaf` has the values of `leafTypes`; the proof is one for OpenZeppelin's MerkleProof."""

    address: AddressText
    season: str
    day: int
    root: HashText
    leaf_types: list[str]
    leaf: list[str]
    entries: int
    proof: list[HashText]


class RootData(Strict):
    """`day` counts UTC days since 1970."""

    day: int
    root: HashText
    wallets: int
    points: Decimal
    closed_at: str


class RootsData(Strict):
    """The newest first."""

    items: list[RootData]
    season: str


class SeasonData(Strict):
    """Chain time in unix seconds; `pool` whole points."""

    id: str
    from_: int = Field(alias="from")
    to: int
    pool: str


class RulesData(Strict):
    """The rules as data."""

    seasons: list[SeasonData]
    versions: list[dict[str, Any]]
