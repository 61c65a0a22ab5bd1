"""What each route takes and gives: the models that validate, and one line for each code.

`openapi` makes the document of it; a route without a row fails a test.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from gateway import models as m
from gateway import replies as r

MARKET = ("stale_chain", "market_halted", "market_paused", "shard_unavailable")
STORE = ("store_unavailable",)
NODE = ("stale_chain",)


@dataclass(frozen=True, slots=True)
class Described:
    """Of one route. `codes` are those of its own; the common ones are added by `openapi`."""

    reply: Any
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    files: tuple[str, ...] = ()
    """Content types of a body that is a file; a form with the file is as good."""
    codes: tuple[str, ...] = STORE
    statuses: tuple[int, ...] = (200,)


_TOKEN = ("invalid_address", "token_not_found", *STORE)
QUOTE = (
    *("token_not_found", "exceeds_sold", "zero_output", "slippage_exceeded", "market_graduating"),
    *("invalid_address", "invalid_amount", "amount_too_large", "invalid_slippage", *MARKET),
)
_BRIDGE = ("not_implemented", *STORE)
_BEGUN = Described(
    r.BridgeBegunData,
    m.BridgeRequest,
    codes=(
        *("invalid_address", "invalid_amount", "amount_too_large", "below_minimum"),
        *("above_limit", "not_enough_liquidity", "bridge_paused", "bridge_unavailable"),
        *("idempotency_conflict", *NODE, *_BRIDGE),
    ),
)
_STATE = (200, 202)

DESCRIBED: dict[tuple[str, str], Described] = {
    ("POST", "/auth/nonce"): Described(r.NonceData, m.Empty),
    ("POST", "/auth/connect"): Described(
        r.ConnectData, m.ConnectRequest, codes=("invalid_address", "wrong_chain", *STORE, *NODE)
    ),
    ("POST", "/auth/refresh"): Described(r.ConnectData, m.RefreshRequest),
    ("POST", "/auth/verify"): Described(r.VerifyData, m.Empty),
    ("POST", "/auth/logout"): Described(r.EndedData, m.LogoutRequest),
    ("GET", "/auth/sessions"): Described(r.SessionsData),
    ("DELETE", "/auth/sessions/{sid}"): Described(r.EndedData, codes=("not_found", *STORE)),
    ("GET", "/users/me"): Described(r.UserData, codes=("not_found", *STORE)),
    ("PATCH", "/users/me"): Described(
        r.UserData, m.UserChange, codes=("not_found", "invalid_slippage", "invalid_link", *STORE)
    ),
    ("GET", "/users/{address}"): Described(
        r.PublicUserData, codes=("invalid_address", "not_found", *STORE)
    ),
    ("POST", "/tokens/create"): Described(
        r.CreateData,
        m.CreateRequest,
        codes=(
            *("invalid_amount", "amount_too_large", "invalid_slippage", "zero_output"),
            *("invalid_link", "unknown_contract", *STORE, *NODE),
        ),
    ),
    ("PUT", "/tokens/{address}/metadata"): Described(
        r.DocumentData, m.DocumentRequest, codes=("invalid_link", "metadata_mismatch", *_TOKEN)
    ),
    ("POST", "/uploads/image"): Described(
        r.UploadData,
        files=("image/png", "image/jpeg", "image/webp", "image/gif", "application/octet-stream"),
        codes=("invalid_image", "upload_timeout", "storage_full", *STORE),
    ),
    ("GET", "/tokens"): Described(r.Page[r.TokenData], query=m.TokensQuery),
    ("GET", "/tokens/{address}"): Described(r.TokenData, codes=(*_TOKEN, *MARKET)),
    ("GET", "/tokens/{address}/chart"): Described(r.ChartData, query=m.ChartQuery, codes=_TOKEN),
    ("GET", "/tokens/{address}/transactions"): Described(
        r.History[r.TransactionData], query=m.HistoryQuery, codes=_TOKEN
    ),
    ("GET", "/tokens/{address}/holders"): Described(
        r.Page[r.HolderData], query=m.PageQuery, codes=_TOKEN
    ),
    ("GET", "/creators/{address}/tokens"): Described(
        r.Page[r.TokenData], query=m.PageQuery, codes=("invalid_address", *STORE)
    ),
    ("GET", "/trades"): Described(r.Cursored[r.TransactionData], query=m.HistoryCursorQuery),
    ("GET", "/analytics/overview"): Described(r.OverviewData),
    ("GET", "/analytics/trending"): Described(r.Page[r.TrendingData], query=m.PageQuery),
    ("GET", "/analytics/top-creators"): Described(r.Page[r.CreatorData], query=m.PageQuery),
    ("GET", "/analytics/king-of-the-hill"): Described(r.TokenData, codes=("not_found", *STORE)),
    ("GET", "/analytics/leaderboard"): Described(r.Page[r.TraderData], query=m.PageQuery),
    ("POST", "/bridge/deposit"): _BEGUN,
    ("POST", "/bridge/withdraw"): _BEGUN,
    ("GET", "/bridge/status/{id}"): Described(r.BridgeTransferData, codes=("not_found", *_BRIDGE)),
    ("GET", "/bridge/history/{address}"): Described(
        r.History[r.BridgeTransferData],
        query=m.BridgeHistoryQuery,
        codes=("invalid_address", *_BRIDGE),
    ),
    ("POST", "/trading/quote"): Described(r.QuoteData, m.QuoteBody, codes=QUOTE),
    ("POST", "/trading/buy"): Described(
        r.TradeData, m.BuyRequest, codes=(*QUOTE, "unknown_contract")
    ),
    ("POST", "/trading/sell"): Described(
        r.TradeData, m.SellRequest, codes=(*QUOTE, "unknown_contract")
    ),
    ("POST", "/trading/submit"): Described(
        r.StateData,
        m.SubmitRequest,
        codes=(*QUOTE, "wrong_chain", "unknown_contract", *STORE),
        statuses=_STATE,
    ),
    ("GET", "/trading/tx/{hash}"): Described(r.StateData, codes=("not_found", *STORE, *NODE)),
    ("GET", "/trading/portfolio/{address}"): Described(
        r.PortfolioData, query=m.PortfolioQuery, codes=("invalid_address", *STORE)
    ),
    ("POST", "/keys"): Described(r.NewKeyData, m.KeyRequest),
    ("GET", "/keys"): Described(r.KeysData),
    ("DELETE", "/keys/{id}"): Described(r.EndedData, codes=("not_found", *STORE)),
    ("GET", "/referral"): Described(r.ReferralData),
    ("POST", "/referral/code"): Described(r.CodeData, m.CodeRequest, codes=("code_taken", *STORE)),
    ("POST", "/referral/bind"): Described(
        r.ReferrerData,
        m.BindRequest,
        codes=("not_found", "already_referred", "referral_refused", *STORE),
    ),
    ("GET", "/referral/tree"): Described(r.Cursored[r.RefereeData], query=m.CursorQuery),
    ("GET", "/referral/earnings"): Described(r.Cursored[r.EarningData], query=m.CursorQuery),
    ("GET", "/referral/{code}"): Described(r.CodeOwnerData, codes=("not_found", *STORE)),
    ("GET", "/points/leaderboard"): Described(
        r.LeaderboardData, query=m.LeaderboardQuery, codes=("not_found", *STORE)
    ),
    ("GET", "/points/ledger"): Described(
        r.Cursored[r.LedgerRowData],
        query=m.LedgerQuery,
        codes=("invalid_address", "not_found", *STORE),
    ),
    ("GET", "/points/roots"): Described(
        r.RootsData, query=m.SeasonQuery, codes=("not_found", *STORE)
    ),
    ("GET", "/points/rules"): Described(r.RulesData, codes=()),
    ("GET", "/points/proof/{address}"): Described(
        r.ProofData, query=m.SeasonQuery, codes=("invalid_address", "not_found", *STORE)
    ),
    ("GET", "/points/{address}"): Described(
        r.PointsData, query=m.SeasonQuery, codes=("invalid_address", "not_found", *STORE)
    ),
    ("GET", "/config"): Described(r.ConfigData, codes=()),
    ("PUT", "/admin/users/{address}/role"): Described(
        r.UserData, m.RoleRequest, codes=("invalid_address", "not_found", *STORE)
    ),
    ("POST", "/admin/users/{address}/logout"): Described(
        r.EndedData, m.Empty, codes=("invalid_address", *STORE)
    ),
    ("GET", "/admin/audit"): Described(r.AuditData, query=m.AuditQuery),
    ("GET", "/admin/bridge/stuck"): Described(r.BridgeStuckData, query=m.StuckQuery, codes=_BRIDGE),
    ("POST", "/admin/bridge/{id}/retry"): Described(
        r.BridgeTransferData, m.Empty, codes=("not_found", "transfer_ended", *_BRIDGE)
    ),
    ("POST", "/admin/bridge/pause"): Described(
        r.BridgePausedData, m.Empty, codes=("bridge_unavailable", *_BRIDGE)
    ),
}
