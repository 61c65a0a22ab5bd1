"""Every bound, with its reason. A bound that operators change is a setting instead."""

BUCKETS = 1024
"""Units of ownership; enough to spread over hundreds of shards, few enough to list."""

MAX_REORG_DEPTH = 1024
"""Blocks held unfinalised; about 17 minutes of RISE."""

STALE_AFTER_BLOCKS = 5
"""A market whose newest head beat is older than this many block times answers stale_chain."""

MAILBOX_MAX = 10_000
"""Messages that wait for one role; a mailbox beyond it refuses with `overloaded`."""

FEED_BATCH_MAX = 256
"""Feed messages in one call to a consumer: bounded pickles, few calls when catching up."""

QUOTE_BATCH_MAX = 512
"""Quotes in one call to a shard: past it the call's own cost no longer shows."""

QUOTE_CALLS_PER_SHARD = 4
"""Calls in flight per shard from one door."""

QUOTES_WAITING_MAX = 20_000
"""Quotes a door holds for its shards before it answers `overloaded`."""

BACKFILL_RANGE = 2_000
"""Blocks in one eth_getLogs range; halved when a node refuses."""

SUBSCRIPTION_QUEUE = 10_000
"""Frames buffered from a live subscription while back-filling; more means reconnect."""

TICK_STREAM_LENGTH = 1_000
"""Messages kept a topic for resume."""

SOCKET_TOPICS_MAX = 200
"""Topics one socket may subscribe to."""

CANDLES_MAX = 1_500
"""Candles in one chart answer."""

PAGE_LIMIT_DEFAULT = 20
PAGE_LIMIT_MAX = 100

BODY_BYTES_MAX = 64 * 1024
"""A JSON body; the largest useful one is a token document or a raw transaction."""

TRANSACTION_GAS_MAX = 16_000_000
"""RISE's cap a transaction."""

NAME_BYTES_MAX = 200
SYMBOL_BYTES_MAX = 40

LIST_COUNT_MAX = 10_000
"""A list's `total` counts to here and its pages end here: no request scans a whole table."""

TICK_STREAM_S = 3_600
"""A topic without ticks for this long is forgotten; its subscribers begin at a snapshot."""

SOCKETS_MAX = 10_000
"""Socket.IO connections of one gateway."""

SOCKET_QUEUE_MAX = 1_000
"""Packets that wait for one reader; a slower one is evicted (python-engineio has no bound)."""

SOCKET_MESSAGE_BYTES_MAX = 16 * 1024
"""One Socket.IO message from a client; the largest useful one is a quote."""

SOCKET_CALLS_MAX = 1_000
"""Calls of one socket under way at once; one more is `overloaded`."""

TOPICS_REMEMBERED_MAX = 50_000
"""Topics whose last `seq` a gateway remembers, the least recently heard forgotten first."""

RATE_KEYS_MAX = 50_000
"""Callers counted locally while Redis is away."""

PAGE_MAX = 1_000_000
"""Page numbers end here; what lies behind it is empty anyway (LIST_COUNT_MAX)."""

GONE_MAX = 10_000
"""Tokens of voided launches whose numbering a shard remembers, should they be launched again."""

OPEN_EVENTS_MAX = 20_000
"""Preconfirmed events held above the tip: some blocks full of trades."""

TRAIL_MAX = 1_024
"""Earlier positions a consumer names when it follows: one for each block of the window."""

CACHE_BYTES_MAX = 256 * 1024 * 1024
"""Rows kept in Redis by one system; what would end first goes first."""

CACHE_VALUE_BYTES_MAX = 512 * 1024
"""One kept value: twice a chart of CANDLES_MAX candles."""
