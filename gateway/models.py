"""What requests look like. One class a body or query; the field names are the seed's."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from engine.limits import BODY_BYTES_MAX, PAGE_LIMIT_DEFAULT
from gateway import refresh, siwe
from gateway.fields import (
    Address,
    Age,
    Amount,
    BlockNumber,
    Boolean,
    Code,
    Cursor,
    ImageLink,
    Limit,
    Line,
    Page,
    Query,
    Resolution,
    RowNumber,
    Side,
    Slippage,
    Strict,
    Telegram,
    Text,
    Twitter,
    Website,
    hex_of,
)
from gateway.units import SLIPPAGE_BPS_DEFAULT

SIGNATURE_BYTES_MAX = 8 * 1024
TOPIC_CHARACTERS_MAX = 64


class Empty(Strict):
    """No fields; a body may be absent."""


class ConnectRequest(Strict):
    """A signed EIP-4361 message; `referralCode` says who brought this wallet."""

    wallet_address: Address
    signature: hex_of(SIGNATURE_BYTES_MAX)  # type: ignore[valid-type]
    message: Annotated[Text, Field(max_length=siwe.MESSAGE_CHARACTERS_MAX)]
    referral_code: Code | None = None


class RefreshRequest(Strict):
    """A refresh token as `connect` or `refresh` gave it."""

    refresh_token: Annotated[Text, Field(max_length=refresh.CHARACTERS_MAX)]


class LogoutRequest(Strict):
    """`everywhere` ends all sessions of the wallet."""

    everywhere: bool = False


class ProfileChange(Strict):
    """What everybody sees; null takes a field away."""

    name: Annotated[Line, Field(min_length=1, max_length=50)] | None = None
    avatar_url: ImageLink | None = None
    bio: Annotated[Text, Field(max_length=500)] | None = None
    locale: Literal["en", "id", "zh", "es"] | None = None


class SettingsChange(Strict):
    """How one wants to be served; null takes a field away. `slippage` in percent."""

    currency: Literal["ETH", "USD"] | None = None
    slippage: Slippage | None = None
    theme: Literal["system", "light", "dark"] | None = None


class UserChange(Strict):
    """A merge patch (RFC 7396) of the two parts that are one's own."""

    profile: ProfileChange | None = None
    settings: SettingsChange | None = None


class RoleRequest(Strict):
    """The role to have from now on."""

    role: Literal["user", "moderator", "admin"]


class DocumentRequest(Strict):
    """A token's document, whose hash its launch holds. Lengths are in characters after NFC."""

    name: Annotated[Line, Field(min_length=1, max_length=50)]
    symbol: Annotated[Line, Field(min_length=1, max_length=10)]
    description: Annotated[Text, Field(max_length=500)] | None = None
    image_url: ImageLink | None = None
    website: Website | None = None
    telegram: Telegram | None = None
    twitter: Twitter | None = None

    @property
    def fields(self) -> dict[str, str | None]:
        """The seven that are hashed."""
        return {
            "name": self.name,
            "symbol": self.symbol,
            "description": self.description,
            "imageUrl": self.image_url,
            "website": self.website,
            "telegram": self.telegram,
            "twitter": self.twitter,
        }


class CreateRequest(DocumentRequest):
    """A launch: its document, its curve, and what its creator buys in it."""

    curve: Literal["constant_product", "linear"] = "constant_product"
    initial_buy_eth: Amount | None = None
    slippage: Slippage = SLIPPAGE_BPS_DEFAULT


class QuoteBody(Strict):
    """`amount` is ETH for a buy and tokens for a sell, the other way round in exactOut."""

    token_address: Address
    type: Side
    amount: Amount
    mode: Literal["exactIn", "exactOut"] = "exactIn"
    slippage: Slippage = SLIPPAGE_BPS_DEFAULT
    for_block: BlockNumber | None = None
    finality: Literal["preconfirmed", "sealed"] = "preconfirmed"


class TradeBody(Strict):
    """Of a trade one amount is given; which one decides exact-in or exact-out."""

    token_address: Address
    eth_amount: Amount | None = None
    token_amount: Amount | None = None
    slippage: Slippage = SLIPPAGE_BPS_DEFAULT

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.eth_amount is None) == (self.token_amount is None):
            raise PydanticCustomError(
                "invalid_request", "Expected exactly one of ethAmount and tokenAmount"
            )
        return self


class BuyRequest(TradeBody):
    """`ethAmount` to spend (the seed's), or `tokenAmount` to get."""


class SellRequest(TradeBody):
    """`tokenAmount` to sell (the seed's), or `ethAmount` to get."""


class SubmitRequest(Strict):
    """A signed transaction as a wallet gives it."""

    raw_transaction: hex_of(BODY_BYTES_MAX // 2)  # type: ignore[valid-type]


class TokensQuery(Query):
    """The seed's GetTokensQuery."""

    page: Page = 1
    limit: Limit = PAGE_LIMIT_DEFAULT
    search: Annotated[Text, Field(max_length=100)] | None = None
    sort_by: Literal["created", "marketCap", "volume"] = "created"
    order_by: Literal["asc", "desc"] = "desc"
    graduated: Boolean | None = None


class PortfolioQuery(Query):
    """`closed` adds tokens that were sold out of."""

    closed: Boolean = False


class ChartQuery(Query):
    """`resolution` in minutes; by default one that suits the timeframe."""

    timeframe: Literal["1h", "24h", "7d", "30d"] = "24h"
    resolution: Resolution | None = None


class PageQuery(Query):
    """A page of a list."""

    page: Page = 1
    limit: Limit = PAGE_LIMIT_DEFAULT


class HistoryCursorQuery(Query):
    """`cursor` of an earlier page goes on from there."""

    limit: Limit = PAGE_LIMIT_DEFAULT
    cursor: Cursor | None = None


class HistoryQuery(Query):
    """`cursor` of an earlier page goes on from there; `page` does not count then."""

    page: Page = 1
    limit: Limit = PAGE_LIMIT_DEFAULT
    cursor: Cursor | None = None


class BridgeRequest(Strict):
    """ETH to send to the other chain; by default to the same wallet there."""

    amount: Amount
    target_address: Address | None = None


class BridgeHistoryQuery(Query):
    """`cursor` of an earlier page goes on from there; `page` does not count then."""

    page: Page = 1
    limit: Limit = PAGE_LIMIT_DEFAULT
    cursor: Annotated[Text, Field(max_length=100)] | None = None


class StuckQuery(Query):
    """`olderThan`: seconds without a step."""

    older_than: Age = 900
    limit: Limit = PAGE_LIMIT_DEFAULT


class KeyRequest(Strict):
    """A key for a program: what it is called, what it may do, how many days."""

    name: Annotated[Line, Field(min_length=1, max_length=50)]
    scopes: Annotated[list[Literal["read", "trade"]], Field(min_length=1, max_length=2)]
    days: Annotated[int, Field(ge=1, le=365)] = 90


class CodeRequest(Strict):
    """The code to have; without one it is made up."""

    code: Code | None = None


class BindRequest(Strict):
    """The code of whoever brought this wallet."""

    code: Code


class CursorQuery(Query):
    """`cursor` of an earlier page goes on from there."""

    limit: Limit = PAGE_LIMIT_DEFAULT
    cursor: Annotated[Text, Field(max_length=200)] | None = None


class SeasonQuery(Query):
    """By default the season that is, or was last."""

    season: Annotated[Text, Field(max_length=40)] | None = None


class LeaderboardQuery(SeasonQuery):
    """A page of the leaderboard."""

    page: Page = 1
    limit: Limit = PAGE_LIMIT_DEFAULT


class LedgerQuery(SeasonQuery):
    """A wallet's rows; `cursor` of an earlier page goes on from there."""

    address: Address
    limit: Limit = PAGE_LIMIT_DEFAULT
    cursor: RowNumber | None = None


class AuditQuery(Query):
    """`cursor` of an earlier page goes on from there."""

    limit: Limit = PAGE_LIMIT_DEFAULT
    cursor: Annotated[Text, Field(pattern="^[0-9a-f]{24}$")] | None = None


class SubscribeRequest(Strict):
    """A topic of Socket.IO. `since`, with the `generation` that it counts in, asks for what was
    missed after this `seq`.
    """

    topic: Annotated[Text, Field(max_length=TOPIC_CHARACTERS_MAX)]
    since: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    generation: Annotated[Text, Field(max_length=80)] | None = None


class AuthenticateRequest(Strict):
    """An access token, for a socket that is open already."""

    token: Annotated[Text, Field(max_length=4_096)]


class UnsubscribeRequest(Strict):
    """The topic to leave."""

    topic: Annotated[Text, Field(max_length=TOPIC_CHARACTERS_MAX)]
