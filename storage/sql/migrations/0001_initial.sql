-- The tables of history, ownership and work, one set for every chain and launchpad version.
--
-- A token's key is (chain_id, version, token_address); an event's identity is (chain_id,
-- tx_hash, position). `block_time`, `time` are unix seconds of the chain; `created_at`,
-- `updated_at` are this server's clock. Nothing here is a float.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE DOMAIN address AS BYTEA CHECK (octet_length(VALUE) = 20);
CREATE DOMAIN hash AS BYTEA CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN amount AS NUMERIC(78, 0) CHECK (VALUE >= 0);

CREATE TABLE users (
    wallet_address address PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
    chain_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    token_address address NOT NULL,
    bucket SMALLINT NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    launchpad address NOT NULL,
    creator address NOT NULL REFERENCES users,
    pair address NOT NULL,
    name TEXT NOT NULL,
    symbol TEXT NOT NULL,
    -- Folded by the writer, so that search does not depend on this server's locale.
    name_key TEXT NOT NULL,
    symbol_key TEXT NOT NULL,
    metadata_hash hash NOT NULL,
    visibility TEXT NOT NULL DEFAULT 'visible' CHECK (visibility IN ('visible', 'hidden')),
    tx_hash hash NOT NULL,
    block_number BIGINT NOT NULL,
    tx_index INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    block_time BIGINT NOT NULL,
    curve_id BIGINT NOT NULL,
    curve_family SMALLINT NOT NULL,
    curve_a amount NOT NULL,
    curve_b amount NOT NULL,
    curve_supply amount NOT NULL,
    pool_supply amount NOT NULL,
    protocol_bps INTEGER NOT NULL,
    creator_bps INTEGER NOT NULL,
    launch_bps INTEGER NOT NULL,
    launch_blocks INTEGER NOT NULL,
    pool_protocol_bps INTEGER NOT NULL,
    pool_creator_bps INTEGER NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, version, token_address),
    UNIQUE (chain_id, token_address)
);

CREATE INDEX tokens_created ON tokens (chain_id, block_number, tx_index, log_index);
CREATE INDEX tokens_creator ON tokens (chain_id, creator);
-- Serves '%needle%' from three letters on, and 'needle%' for shorter ones.
-- Launches are rare: no list of pending entries that every search would have to read.
CREATE INDEX tokens_search ON tokens
    USING gin (name_key gin_trgm_ops, symbol_key gin_trgm_ops) WITH (fastupdate = off);

-- The market after its last recorded event. Apart from `tokens`, because it changes with every
-- block: checks of foreign keys would walk the dead versions of a row that trades.
CREATE TABLE markets (
    chain_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    token_address address NOT NULL,
    phase TEXT NOT NULL DEFAULT 'curve' CHECK (phase IN ('curve', 'graduating', 'graduated')),
    sold amount NOT NULL DEFAULT 0,
    raised amount NOT NULL DEFAULT 0,
    seq BIGINT NOT NULL DEFAULT 1,
    price_e18 amount NOT NULL,
    market_cap_wei amount NOT NULL,
    graduated_at BIGINT,
    trades BIGINT NOT NULL DEFAULT 0,
    -- Wallets with a balance; the launchpad and the pair are not counted.
    holders BIGINT NOT NULL DEFAULT 0 CHECK (holders >= 0),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, version, token_address),
    FOREIGN KEY (chain_id, version, token_address) REFERENCES tokens
) WITH (fillfactor = 50);

CREATE INDEX markets_market_cap ON markets (chain_id, market_cap_wei, token_address);

-- A transaction that was submitted here waits at position -1, PENDING, without block and
-- version (so its token need not exist yet). The recorder's write puts the mined rows in its
-- place in one transaction; a revert stays there as FAILED.
CREATE TABLE transactions (
    chain_id BIGINT NOT NULL,
    tx_hash hash NOT NULL,
    position INTEGER NOT NULL CHECK (position >= -1),
    version INTEGER,
    block_number BIGINT,
    tx_index INTEGER,
    log_index INTEGER,
    block_time BIGINT,
    token_address address,
    user_address address NOT NULL REFERENCES users,
    recipient address,
    type TEXT NOT NULL CHECK (type IN ('BUY', 'SELL', 'CREATE', 'TRANSFER', 'BRIDGE')),
    eth_amount amount,
    token_amount amount,
    price_e18 amount,
    protocol_fee amount NOT NULL DEFAULT 0,
    creator_fee amount NOT NULL DEFAULT 0,
    gas_fee amount,
    venue SMALLINT NOT NULL DEFAULT 0,
    tag hash,
    status TEXT NOT NULL CHECK (status IN ('PENDING', 'CONFIRMED', 'FAILED')),
    reason TEXT,
    -- Its receipt (gas, or the reason of a revert) has still to be read.
    receipt_due BOOLEAN NOT NULL DEFAULT FALSE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, tx_hash, position),
    FOREIGN KEY (chain_id, version, token_address) REFERENCES tokens,
    CHECK ((position = -1) = (block_number IS NULL)),
    CHECK (position = -1 OR (version, tx_index, log_index, block_time) IS NOT NULL),
    CHECK (position = -1 OR status = 'CONFIRMED')
);

CREATE INDEX transactions_token
    ON transactions (chain_id, token_address, block_number, tx_index, log_index)
    WHERE position >= 0;
CREATE INDEX transactions_receipt_due ON transactions (chain_id, created_at) WHERE receipt_due;

CREATE TABLE transfers (
    chain_id BIGINT NOT NULL,
    tx_hash hash NOT NULL,
    position INTEGER NOT NULL,
    version INTEGER NOT NULL,
    block_number BIGINT NOT NULL,
    block_hash hash NOT NULL,
    block_time BIGINT NOT NULL,
    tx_index INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    token_address address NOT NULL,
    sender address NOT NULL,
    recipient address NOT NULL,
    amount amount NOT NULL,
    PRIMARY KEY (chain_id, tx_hash, position),
    FOREIGN KEY (chain_id, version, token_address) REFERENCES tokens
);

-- Derived from transfers in the transaction that stores them; what the holder bought, sold,
-- spent and received is derived in the same way from transactions. Those have the foreign key.
CREATE TABLE balances (
    chain_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    token_address address NOT NULL,
    holder address NOT NULL,
    balance amount NOT NULL DEFAULT 0,
    bought_tokens amount NOT NULL DEFAULT 0,
    sold_tokens amount NOT NULL DEFAULT 0,
    spent_wei amount NOT NULL DEFAULT 0,
    received_wei amount NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, version, token_address, holder)
) WITH (fillfactor = 70);

CREATE INDEX balances_holder ON balances (chain_id, holder);

-- Candles of one minute, merged when a later block trades in the same minute.
CREATE TABLE price_history (
    chain_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    token_address address NOT NULL,
    time BIGINT NOT NULL CHECK (time % 60 = 0),
    open amount NOT NULL,
    high amount NOT NULL,
    low amount NOT NULL,
    close amount NOT NULL,
    volume_eth amount NOT NULL,
    volume_token amount NOT NULL,
    trades INTEGER NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, version, token_address, time),
    FOREIGN KEY (chain_id, version, token_address) REFERENCES tokens,
    CHECK (low <= least(open, close) AND high >= greatest(open, close))
) WITH (fillfactor = 70);

CREATE INDEX price_history_time ON price_history (chain_id, time);

-- What the launchpads said, whole, for replay. Transfers have their own table.
CREATE TABLE events (
    chain_id BIGINT NOT NULL,
    tx_hash hash NOT NULL,
    position INTEGER NOT NULL,
    version INTEGER NOT NULL,
    block_number BIGINT NOT NULL,
    block_hash hash NOT NULL,
    block_time BIGINT NOT NULL,
    tx_index INTEGER NOT NULL,
    log_index INTEGER NOT NULL,
    emitter address NOT NULL,
    kind TEXT NOT NULL,
    token_address address,
    bucket SMALLINT CHECK (bucket BETWEEN 0 AND 1023),
    event_seq BIGINT NOT NULL,
    payload JSONB NOT NULL,
    PRIMARY KEY (chain_id, tx_hash, position),
    -- The contract counts its events without a gap: a second one of a number is a fault.
    UNIQUE (chain_id, emitter, event_seq),
    CHECK ((token_address IS NULL) = (bucket IS NULL))
);

CREATE INDEX events_of_markets ON events (chain_id, block_number, tx_index, log_index)
    INCLUDE (bucket) WHERE bucket IS NOT NULL;

CREATE TABLE snapshots (
    chain_id BIGINT NOT NULL,
    bucket SMALLINT NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    block_number BIGINT NOT NULL,
    block_hash hash NOT NULL,
    incarnation BIGINT NOT NULL,
    schema INTEGER NOT NULL,
    payload BYTEA NOT NULL,
    checksum hash NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, bucket, block_number)
);

CREATE TABLE bucket_owner (
    chain_id BIGINT NOT NULL,
    bucket SMALLINT NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    owner TEXT NOT NULL DEFAULT '',
    incarnation BIGINT NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, bucket)
) WITH (fillfactor = 50);

CREATE TABLE cursors (
    chain_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    block_number BIGINT NOT NULL DEFAULT -1,
    block_hash hash NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    block_time BIGINT NOT NULL DEFAULT 0,
    incarnation BIGINT NOT NULL DEFAULT 0,
    finalised_number BIGINT NOT NULL DEFAULT -1,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, name)
) WITH (fillfactor = 50);

-- Work that starts when its block is final. `key` makes it happen once.
CREATE TABLE outbox (
    chain_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    topic TEXT NOT NULL,
    version INTEGER,
    token_address address,
    block_number BIGINT NOT NULL,
    payload JSONB NOT NULL,
    visible_at TIMESTAMPTZ,
    consumed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, key)
);

CREATE INDEX outbox_waiting ON outbox (chain_id, block_number) WHERE visible_at IS NULL;
CREATE INDEX outbox_due ON outbox (chain_id, topic, block_number)
    WHERE visible_at IS NOT NULL AND consumed_at IS NULL;

-- Laid out for the bridge and for limit orders; nothing writes them yet.
CREATE TABLE bridge_requests (
    source_chain BIGINT NOT NULL,
    target_chain BIGINT NOT NULL,
    id hash NOT NULL,
    version INTEGER NOT NULL,
    user_address address NOT NULL REFERENCES users,
    recipient address NOT NULL,
    amount amount NOT NULL,
    status TEXT NOT NULL DEFAULT 'PENDING'
        CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')),
    source_tx_hash hash,
    target_tx_hash hash,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (source_chain, version, id)
);

CREATE INDEX bridge_requests_user ON bridge_requests (user_address, created_at);

CREATE TABLE orders (
    chain_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    order_hash hash NOT NULL,
    user_address address NOT NULL REFERENCES users,
    token_address address NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('BUY', 'SELL')),
    amount_in amount NOT NULL,
    amount_out_min amount NOT NULL,
    expires_at BIGINT NOT NULL,
    status TEXT NOT NULL DEFAULT 'OPEN'
        CHECK (status IN ('OPEN', 'FILLED', 'CANCELLED', 'EXPIRED')),
    terms JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, version, order_hash),
    FOREIGN KEY (chain_id, version, token_address) REFERENCES tokens
);

CREATE INDEX orders_open ON orders (chain_id, token_address) WHERE status = 'OPEN';
