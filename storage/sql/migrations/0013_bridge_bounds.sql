-- What of an ended transfer is shown, and what its row of the outbox says, stands with the request:
-- so events and rows of the outbox that everybody is past may be taken away.
ALTER TABLE bridge_requests
    ADD COLUMN deposit_block BIGINT,
    ADD COLUMN deposit_time BIGINT,
    ADD COLUMN paid_block BIGINT,
    ADD COLUMN paid_at BIGINT,
    -- Its number in the outbox.
    ADD COLUMN ended_seq BIGINT UNIQUE,
    -- The hash of the key that the doors were given: the id itself is random, nobody can guess it.
    ADD COLUMN asked_key hash;

-- A wallet's key is one request of a chain.
CREATE UNIQUE INDEX bridge_requests_asked ON bridge_requests (source_chain, user_address, asked_key)
    WHERE asked_key IS NOT NULL;

-- A wallet's that were paid and are not final: points that it waits for.
CREATE INDEX bridge_requests_paid ON bridge_requests (user_address)
    WHERE ended_at IS NULL AND target_tx_hash IS NOT NULL;

UPDATE bridge_requests AS ended
SET
    ended_seq = outbox.seq,
    deposit_block = seen.deposit_block,
    deposit_time = seen.deposit_time,
    paid_block = seen.paid_block,
    paid_at = seen.paid_at
FROM bridge_outbox AS outbox, (
    SELECT
        message_id,
        max(block_number) FILTER (WHERE kind = 'Deposited') AS deposit_block,
        max(block_time) FILTER (WHERE kind = 'Deposited') AS deposit_time,
        max(block_number) FILTER (WHERE kind IN ('Released', 'Refunded')) AS paid_block,
        max(block_time) FILTER (WHERE kind IN ('Released', 'Refunded')) AS paid_at
    FROM bridge_events
    WHERE message_id IS NOT NULL
    GROUP BY message_id
) AS seen
WHERE outbox.source_chain = ended.source_chain AND outbox.version = ended.version
    AND outbox.request_id = ended.id AND seen.message_id = ended.message_id;

-- By name: `last` is the newest number of the outbox, which must not be given again once its row
-- is gone; `floor` up to where rows were taken away; `consumer/…` how far a consumer has come.
CREATE TABLE bridge_outbox_marks (
    name TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

INSERT INTO bridge_outbox_marks (name, seq)
SELECT 'last', coalesce(max(seq), 0) FROM bridge_outbox;

-- What each relayer said last: empty `closed` where transfers go through. One that says nothing
-- any more is not there.
CREATE TABLE bridge_beats (
    name TEXT PRIMARY KEY,
    closed TEXT NOT NULL,
    paused BOOLEAN NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
