-- name: horizon
-- Up to here everything is recorded and final; the time of the last block known by then; and
-- the block up to which rows were taken away, -1 while none was.
SELECT
    edge.number,
    coalesce((
        SELECT cursors.block_number FROM cursors
        WHERE cursors.chain_id = $1 AND cursors.name = $3
    ), -1) AS floor,
    (
        SELECT blocks.block_time FROM blocks
        WHERE blocks.chain_id = $1 AND blocks.number <= edge.number
        ORDER BY blocks.number DESC
        LIMIT 1
    ) AS block_time
FROM (
    SELECT least(block_number, finalised_number) AS number
    FROM cursors
    WHERE chain_id = $1 AND name = $2
) AS edge

-- name: due
-- Final work above $2 and up to $3 with its events, in the order of the chain. Events from the
-- place on and one row only: so no other way leads there than the key, whatever Postgres believes
-- of a table that grows fast.
SELECT
    events.kind, events.tx_hash, events.position, events.version, events.block_number,
    events.block_hash, events.block_time, events.tx_index, events.log_index, events.emitter,
    events.payload, tokens.creator
FROM outbox
CROSS JOIN LATERAL (
    SELECT
        decode(outbox.payload ->> 'tx', 'hex') AS tx_hash,
        (outbox.payload ->> 'position')::integer AS position
) AS place
CROSS JOIN LATERAL (
    SELECT
        one.chain_id, one.kind, one.tx_hash, one.position, one.version, one.block_number,
        one.block_hash, one.block_time, one.tx_index, one.log_index, one.emitter, one.payload
    FROM events AS one
    WHERE (one.chain_id, one.tx_hash, one.position)
        >= (outbox.chain_id, place.tx_hash, place.position)
    ORDER BY one.chain_id, one.tx_hash, one.position
    LIMIT 1
) AS events
JOIN tokens
    ON tokens.chain_id = outbox.chain_id AND tokens.version = outbox.version
    AND tokens.token_address = outbox.token_address
WHERE outbox.chain_id = $1 AND outbox.visible_at IS NOT NULL
    AND outbox.block_number > $2 AND outbox.block_number <= $3
    AND events.chain_id = outbox.chain_id AND events.tx_hash = place.tx_hash
    AND events.position = place.position
ORDER BY outbox.block_number, events.tx_index, events.log_index
LIMIT $4

-- name: history
-- As `due`, from the events themselves: their outbox rows are gone up to the floor, $3.
SELECT
    events.kind, events.tx_hash, events.position, events.version, events.block_number,
    events.block_hash, events.block_time, events.tx_index, events.log_index, events.emitter,
    events.payload, tokens.creator
FROM events
JOIN tokens
    ON tokens.chain_id = events.chain_id AND tokens.version = events.version
    AND tokens.token_address = events.token_address
WHERE events.chain_id = $1 AND events.bucket IS NOT NULL AND events.kind = ANY ($5::text[])
    AND events.block_number > $2 AND events.block_number <= $3
ORDER BY events.block_number, events.tx_index, events.log_index
LIMIT $4

-- name: told
-- How far a consumer has come. Never ahead of where its own store says.
INSERT INTO cursors (chain_id, name, block_number)
VALUES ($1, $2, $3)
ON CONFLICT (chain_id, name) DO UPDATE
    SET block_number = EXCLUDED.block_number, updated_at = now()

-- name: lock_floor
-- One sweeper at a time.
INSERT INTO cursors (chain_id, name)
VALUES ($1, $2)
ON CONFLICT (chain_id, name) DO UPDATE SET updated_at = now()

-- name: consumers
SELECT name, block_number FROM cursors WHERE chain_id = $1 AND starts_with(name, $2)

-- name: oldest
-- The first rows in the order of blocks; which of them were visible for long enough.
SELECT block_number, visible_at < now() - make_interval(secs => $4::integer) AS old
FROM outbox
WHERE chain_id = $1 AND visible_at IS NOT NULL AND block_number <= $2
ORDER BY block_number
LIMIT $3

-- name: take_away
DELETE FROM outbox WHERE chain_id = $1 AND visible_at IS NOT NULL AND block_number <= $2

-- name: raise_floor
UPDATE cursors
SET block_number = greatest(block_number, $3), updated_at = now()
WHERE chain_id = $1 AND name = $2
