-- Graduation and the pool; and what a reorganisation needs to take blocks back.

-- A pair's own events are not counted by the launchpad. The index that keeps its numbers
-- unique leaves them out, so that walking from launchpad to launchpad does not meet them.
ALTER TABLE events DROP CONSTRAINT events_chain_id_emitter_event_seq_key;
ALTER TABLE events ALTER COLUMN event_seq DROP NOT NULL;
ALTER TABLE events
    ADD CHECK ((event_seq IS NULL) = (kind IN ('PoolSynced', 'PoolSwapped')));
CREATE UNIQUE INDEX events_of_launchpads ON events (chain_id, emitter, event_seq)
    WHERE event_seq IS NOT NULL;

-- The last event of each kind of a token, and its events from a minute on: block times never
-- fall, so this is the order of the chain.
CREATE INDEX events_of_token
    ON events (chain_id, token_address, kind, block_time, block_number, tx_index, log_index)
    WHERE token_address IS NOT NULL;
CREATE INDEX events_without_token ON events (chain_id, block_number) WHERE bucket IS NULL;

ALTER TABLE markets DROP CONSTRAINT markets_phase_check;
ALTER TABLE markets
    ADD CHECK (phase IN ('curve', 'graduating', 'graduated', 'reopened')),
    -- The pair's, from the graduation on.
    ADD COLUMN reserve_token amount NOT NULL DEFAULT 0,
    ADD COLUMN reserve_weth amount NOT NULL DEFAULT 0;

-- What the keeper asks for once a block: nearly always nothing.
CREATE INDEX markets_graduating ON markets (chain_id, token_address)
    WHERE phase = 'graduating';

-- Whose a log is, by its address.
CREATE INDEX tokens_pair ON tokens (chain_id, pair);

-- The recorded blocks that may still be taken back, and some more: a bounded window.
CREATE TABLE blocks (
    chain_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hash hash NOT NULL,
    parent_hash hash NOT NULL,
    block_time BIGINT NOT NULL,
    PRIMARY KEY (chain_id, number)
);

-- What was recorded before this table ends at the cursor; that block's parent is not known.
INSERT INTO blocks (chain_id, number, hash, parent_hash, block_time)
SELECT chain_id, block_number, block_hash, decode(repeat('00', 32), 'hex'), block_time
FROM cursors
WHERE name = 'recorder' AND block_number >= 0;

ALTER TABLE transactions
    -- The waiting row that these mined rows took the place of, whole: when their block is
    -- taken back it waits again. On the first of them only.
    ADD COLUMN submission JSONB,
    ADD COLUMN submitted BOOLEAN NOT NULL GENERATED ALWAYS AS (submission IS NOT NULL) STORED;

-- Whole, with waiting rows: the foreign key of a token that is taken back looks here too.
DROP INDEX transactions_token;
CREATE INDEX transactions_token
    ON transactions (chain_id, token_address, block_number, tx_index, log_index)
    INCLUDE (position);
CREATE INDEX transactions_block ON transactions (chain_id, block_number)
    WHERE block_number IS NOT NULL;
CREATE INDEX transactions_settled ON transactions (chain_id, updated_at)
    WHERE position = -1 AND gas_fee IS NOT NULL;
CREATE INDEX transfers_token ON transfers (chain_id, token_address);
CREATE INDEX transfers_block ON transfers (chain_id, block_number);
