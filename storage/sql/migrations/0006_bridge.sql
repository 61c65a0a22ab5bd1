-- The bridge. What the vaults said (a window of blocks that may be taken back, and the events
-- for ever), the requests that follow from it, and every transaction that was meant to be sent.
-- The launchpad's tables keep to themselves: `blocks` and `outbox` are what a replay of the
-- launchpad's chain makes, and nothing else may stand in them.

CREATE TABLE bridge_blocks (
    chain_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hash hash NOT NULL,
    parent_hash hash NOT NULL,
    block_time BIGINT NOT NULL,
    PRIMARY KEY (chain_id, number)
);

CREATE TABLE bridge_events (
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
    event_seq BIGINT NOT NULL,
    -- Of transfers; null for what a vault says of itself.
    message_id hash,
    payload JSONB NOT NULL,
    PRIMARY KEY (chain_id, tx_hash, position),
    -- The vault counts its events without a gap: a second one of a number is a fault.
    UNIQUE (chain_id, emitter, event_seq)
);

CREATE INDEX bridge_events_message ON bridge_events (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX bridge_events_block ON bridge_events (chain_id, block_number);

-- `id` is what the API gave out and the deposit names as its `ref`; a deposit that names none
-- of its depositor's makes a row of its own, whose id is the message's.
ALTER TABLE bridge_requests
    ADD COLUMN message_id hash UNIQUE,
    ADD COLUMN requested BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN nonce BIGINT,
    ADD COLUMN fee amount,
    ADD COLUMN deadline BIGINT,
    ADD COLUMN step TEXT NOT NULL DEFAULT 'awaiting_deposit',
    ADD COLUMN reason TEXT NOT NULL DEFAULT '',
    ADD COLUMN refund_tx_hash hash,
    -- Looked at again from `next_at` on. `revision` grows whenever something new is known, so
    -- that who looked before that does not put the request to sleep.
    ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN next_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ADD COLUMN revision BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN ended_at TIMESTAMPTZ,
    ADD CHECK ((ended_at IS NOT NULL) = (status IN ('COMPLETED', 'FAILED')));

CREATE INDEX bridge_requests_due ON bridge_requests (next_at) WHERE ended_at IS NULL;
CREATE INDEX bridge_requests_waiting ON bridge_requests (source_chain, user_address, id)
    WHERE message_id IS NULL;

-- A nonce of an account is one request's for ever; a request has one of them at a time. Written
-- before anything is sent. Without a request it only fills a hole. `outcome` when it is final,
-- `mined_block` while it is not.
CREATE TABLE bridge_sends (
    chain_id BIGINT NOT NULL,
    sender address NOT NULL,
    nonce BIGINT NOT NULL,
    source_chain BIGINT,
    version INTEGER,
    request_id hash,
    kind TEXT NOT NULL CHECK (kind IN ('release', 'cancel', 'refund', 'fill')),
    to_address address NOT NULL,
    data BYTEA NOT NULL,
    gas BIGINT NOT NULL,
    mined_block BIGINT,
    outcome TEXT CHECK (outcome IN ('succeeded', 'reverted', 'elsewhere')),
    tx_hash hash,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, sender, nonce),
    FOREIGN KEY (source_chain, version, request_id) REFERENCES bridge_requests,
    CHECK ((kind = 'fill') = (request_id IS NULL)),
    CHECK ((outcome IN ('succeeded', 'reverted')) = (tx_hash IS NOT NULL) OR outcome IS NULL)
);

CREATE UNIQUE INDEX bridge_sends_of_request ON bridge_sends (source_chain, version, request_id)
    WHERE outcome IS NULL;
CREATE INDEX bridge_sends_open ON bridge_sends (chain_id, sender, nonce) WHERE outcome IS NULL;

-- Every transaction that was ever signed for a nonce, written before it is sent.
CREATE TABLE bridge_offers (
    chain_id BIGINT NOT NULL,
    tx_hash hash NOT NULL,
    sender address NOT NULL,
    nonce BIGINT NOT NULL,
    number INTEGER NOT NULL,
    max_fee amount NOT NULL,
    priority_fee amount NOT NULL,
    offered_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, tx_hash),
    UNIQUE (chain_id, sender, nonce, number),
    FOREIGN KEY (chain_id, sender, nonce) REFERENCES bridge_sends
);

-- Transfers that ended for good, in an order without a gap, for consumers with a cursor of
-- their own (points). A row is written in the transaction that ends the request.
CREATE TABLE bridge_outbox (
    seq BIGINT PRIMARY KEY,
    source_chain BIGINT NOT NULL,
    version INTEGER NOT NULL,
    request_id hash NOT NULL,
    status TEXT NOT NULL,
    payload JSONB NOT NULL,
    visible_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (source_chain, version, request_id)
);
