"""Every bound, with its reason. A bound that operators change is a setting instead."""

BUCKETS = 1024
"""Units of ownership; enough to spread over hundreds of shards, few enough to list."""

SHARDS_MAX = 1024
"""As many as there are buckets; one more would own none."""

GATEWAYS_MAX = 256
"""Doors of a kind; each has a pool of connections to Postgres."""

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

QUOTE_BATCH_SPLIT = 64
"""More quotes than this that wait together are split over the calls that are free: the shard
answers the one while the door reads the other. Of fewer a call's own cost would show."""

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

LISTED_EVERY_MS = 1_000
"""Between two messages of the list of tokens: what an eye can follow."""

LISTED_ROWS_MAX = 200
"""Rows in one message of the list of tokens, about 80 KB; more wait for the next one."""

LISTED_KEPT_MAX = 60
"""Messages of the list kept for resume: a minute, 5 MB at most."""

LISTED_WAITING_MAX = 5_000
"""Rows that wait for the list of tokens, in a shard and in Redis: 25 messages' worth. What does
not fit is left out, and the message says how many."""

SOCKET_TOPICS_MAX = 200
"""Topics one socket may subscribe to."""

CANDLES_MAX = 1_500
"""Candles in one chart answer."""

PAGE_LIMIT_DEFAULT = 20
PAGE_LIMIT_MAX = 100

BODY_BYTES_MAX = 64 * 1024
"""A JSON body; the largest useful one is a token document or a raw transaction."""

LINK_CHARACTERS_MAX = 500
"""Of one link in a document or a profile; what browsers and wallets show is shorter."""

IMAGE_BYTES_MAX = 5 * 1024 * 1024
"""An uploaded image as it comes; the photo of a telephone."""

IMAGE_SIDE_MIN = 16
IMAGE_SIDE_MAX = 12_000
IMAGE_PIXELS_MAX = 25_000_000
"""Looked at before anything is decoded: 100 MB of memory at four bytes a pixel."""

IMAGE_KEPT_SIDE = 1_024
IMAGE_SMALL_SIDE = 256
"""The longer side of the two sizes that are kept."""

IMAGE_KEPT_BYTES_MAX = 6 * 1024 * 1024
"""One size as it is kept; noise at full size does not compress."""

IMAGE_WORKERS = 2
IMAGE_WAITING_MAX = 32
"""Uploads of one gateway at once, each with its bytes in memory; one more is `overloaded`."""

IMAGE_WAITING_OF_ONE_MAX = 2
"""Of them, of one wallet: nobody takes all the places by sending slowly."""

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

SOCKET_STUCK_S = 15
"""A reader that takes nothing of what waits for so long is evicted, however little it is."""

SOCKET_KERNEL_BYTES = 128 * 1024
"""The system's buffer of one socket: some dozens of messages, and no more for ten thousand."""

SOCKET_MESSAGE_BYTES_MAX = 16 * 1024
"""One Socket.IO message from a client; the largest useful one is a quote."""

SOCKET_CALLS_MAX = 1_000
"""Calls of one socket under way at once; one more is `overloaded`."""

SOCKET_IN_A_ROW_MAX = 256
"""Quotes taken from one socket in one turn of the loop, some milliseconds of it."""

SOCKET_GATHERED_BYTES = 32 * 1024
"""Answers of one turn of the loop that are written to one socket in one go."""

FANOUT_READER_S = 20e-6
"""Twice what one reader's part in a round of a topic takes: a hot topic leaves half of a door's
time to what else it has to do."""

FANOUT_INTERVAL_S = 0.08
"""Between two rounds of a topic at most, however many read it: a tick is to reach 5,000 within
150 ms, and the round itself takes its part of that."""

FANOUT_INTERVAL_MIN_S = 0.002
"""A hundred readers; for fewer nothing waits."""

FANOUT_WAITING_MAX = 256
"""Messages of a topic that wait for its round; with one more it is now."""

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

OUTBOX_KEPT_S = 7 * 86_400
"""Work that was done stays for a week, so that what went wrong can be looked at."""

OUTBOX_SWEEP_ROWS = 5_000
"""Rows of the outbox taken away at once: some ten milliseconds of one transaction."""

BRIDGE_EVENTS_KEPT_S = 30 * 86_400
"""What the vaults said of a transfer stays so long after its end; what of it is shown stands with
the transfer itself."""

BRIDGE_SWEEP_ROWS = 5_000
"""Events of vaults taken away at once: some ten milliseconds of one transaction."""

BRIDGE_RECENT_MAX = 4_096
"""Positions above what is final that the checker remembers of a chain, an hour of RISE; where
finality stands still, ever fewer of the old ones."""

ATTESTATIONS_KEPT = 10_000
"""Of an attestor's journal, 3 MB: the newest stay, whatever became of them."""

ATTESTATIONS_OVER = 2_500
"""So many are taken out of a journal at once: it is written anew each time."""

ATTESTATIONS_MAX = 100_000
"""An attestor with so many signs nothing new: only messages without an end bring it there."""

BRIDGE_BEAT_S = 5.0
"""A relayer says so often whether transfers go through."""

BRIDGE_SILENT_S = 20.0
"""The doors take nothing for a relayer that was not heard for so long: some beats."""

BRIDGE_TURN_S_MAX = 180.0
"""A relayer whose last turn is older does not work: one in which no attestor answers takes 80."""

BRIDGE_CHECKS_MAX = 10_000
"""Payments that wait for the checker's look; beyond it the feed is told to wait."""

BRIDGE_INTENTS_MAX = 200
"""Transfers of one wallet that wait for their deposit: asking writes a row."""

BRIDGE_INTENT_KEPT_S = 7 * 86_400
"""Those that nobody deposited for are forgotten so long after they were closed."""

BRIDGE_NOTICES_MAX = 256
"""Steps told to sockets in one transaction."""

STREAM_CONNECTIONS_MAX = 10_000
"""Connections of one process of the stream door."""

STREAM_FRAME_BYTES_MAX = 64 * 1024
"""One frame of the stream door: an array of some hundred quotes. A larger one is an error."""

STREAM_FRAME_BYTES_CUT = 4 * STREAM_FRAME_BYTES_MAX
"""A frame above it is not even read: the connection ends."""

STREAM_FRAGMENTS_MAX = 256
"""Fragments of one message: empty ones weigh nothing, so their bytes do not bound them."""

STREAM_OPS_PER_FRAME_MAX = 512
"""Objects in one array."""

STREAM_IN_FLIGHT_MAX = 1_024
"""Quotes of one connection under way at once; one more is `overloaded`."""

STREAM_QUEUED_FRAMES_MAX = 128
"""Frames of one connection that were read and wait for their turn; then it is not read from."""

STREAM_QUEUED_BYTES_MAX = 2 * STREAM_FRAME_BYTES_MAX
"""The same by weight. What was read in one go may be more."""

STREAM_CALLS_WAITING_MAX = 256
"""Ops of one connection other than quotes that wait for their turn."""

STREAM_EARLY_FRAMES_MAX = 64
"""Frames kept of a connection that is still being admitted."""

STREAM_EARLY_BYTES_MAX = STREAM_FRAME_BYTES_MAX
"""The same by weight."""

STREAM_OTHERS_MAX = 2_000
"""Events other than prices that wait for one slow reader, some blocks of 500 trades; more of a
topic become a `gap`. All readers share the frames, so what waits costs little."""

STREAM_BUFFER_BYTES = 64 * 1024
"""Written and not yet taken by the kernel; above it a reader is slow."""

STREAM_GATHERED_BYTES = 32 * 1024
"""What is written in one turn of the loop to one connection in one go."""

STREAM_KERNEL_BYTES = 128 * 1024
"""What the kernel may hold for one reader: what stands there is old when it is read."""

STREAM_STALLED_S = 20.0
"""A reader that takes nothing for this long is cut off."""

STREAM_FAULTS_MAX = 10
"""Malformed or oversize frames of one connection in STREAM_FAULTS_S; one more ends it."""

STREAM_REFUSED_MAX = 2_000
"""Ops above the budget of one connection in STREAM_FAULTS_S; one more ends it."""

STREAM_FAULTS_S = 10.0

CACHE_BYTES_MAX = 256 * 1024 * 1024
"""Rows kept in Redis by one system; what would end first goes first."""

DOCUMENTS_KEPT_MAX = 8_192
"""Documents of tokens kept in a door's own memory; each has at most some thousand characters."""

CACHE_VALUE_BYTES_MAX = 512 * 1024
"""One kept value: twice a chart of CANDLES_MAX candles."""

REPLICA_BEAT_S = 0.04
"""Between two beats of a shard: one at least every 50 ms, and a busy loop comes late."""

REPLICA_LEASE_S = 0.2
"""A replica whose newest beat is older does not answer: four beats were missed."""

REPLICA_MARKETS_MAX = 8_192
"""Markets of which a door keeps a replica, 2 KB each; the least recently asked for go first."""

REPLICA_FLOORS_MAX = 8_192
"""Markets of which a door remembers the block of a receipt; what is forgotten holds for all."""

REPLICA_ASKED_MAX = 256
"""Markets in one question for their whole state: half a megabyte."""

REPLICA_QUEUE_MAX = 2_000
"""Messages to replicas that wait for Redis; one more is dropped, which they see as a gap."""

REPLICA_ASKS_MAX = 16
"""Such questions under way at once; each has a timeout."""

NEAR_UNSENT_BYTES_MAX = 64 * 1024 * 1024
"""Of questions, or of answers, that another process of this node has not read: some blocks full of
trades. It stands still then: who asks it more is told so, and what it asked is not answered."""

SAID_BLOCKS = 32
"""Newest blocks whose trades a shard keeps whole, to say them where the owner before did not: half
a minute, some ten MB at 500 trades a block (650 bytes each)."""

SAID_OPEN_MAX = 512
"""Preconfirmed trades of a bucket, said and not sealed, of which Redis remembers what taking them
back needs (600 bytes each, until they are sealed); with more, a new owner says a gap."""

QUOTABLES_MAX = 16_384
"""Markets that a shard keeps ready for quotes: half a kilobyte each."""

TICKS_A_PART = 8
"""Of one change that nobody waits for: they go out or are dropped together."""

RETOLD_PAUSE_S = 0.004
"""After a part of what was told before: doors tell in order, and prices come behind it there."""

PARTS_AT_ONCE = 8
"""In one round trip where not much waits; newer prices wait for what is on its way."""

SAID_AT_ONCE = 64
"""Trades said in one round trip, 3 ms of Redis (measured), for which prices wait; one block of a
bucket is not split."""
