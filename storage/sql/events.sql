-- name: claim
INSERT INTO cursors (chain_id, name, incarnation)
VALUES ($1, $2, 1)
ON CONFLICT (chain_id, name) DO UPDATE
    SET
        incarnation = cursors.incarnation + 1, revision = gen_random_uuid(), updated_at = now()
RETURNING incarnation

-- name: position
SELECT block_number, block_hash FROM cursors WHERE chain_id = $1 AND name = $2

-- name: finalise
-- After `lock_cursor`, as a statement of its own: one that waited for a write itself would not see
-- what that wrote. What is written up to the block that is final already, $4, is visible from then
-- on: so all that waits is above it.
WITH moved AS (
    UPDATE cursors
    SET finalised_number = greatest(finalised_number, $3), updated_at = now()
    WHERE chain_id = $1 AND name = $2
    RETURNING finalised_number
)
UPDATE outbox
SET visible_at = now()
FROM moved
WHERE outbox.chain_id = $1 AND outbox.visible_at IS NULL
    AND outbox.block_number > $4 AND outbox.block_number <= moved.finalised_number

-- name: market_events
-- Only events about a token have a bucket. Keyset paging: each page goes on after the last.
SELECT
    kind, tx_hash, position, version, block_number, block_hash, block_time, tx_index, log_index,
    emitter, payload
FROM events
WHERE chain_id = $1 AND bucket = ANY ($2::smallint[])
    AND (block_number, tx_index, log_index) > ($3::bigint, $4::integer, $5::integer)
    AND block_number <= $6
ORDER BY block_number, tx_index, log_index
LIMIT $7

-- name: events_at
-- Events about tokens of one block.
SELECT
    kind, tx_hash, position, version, block_number, block_hash, block_time, tx_index, log_index,
    emitter, payload
FROM events
WHERE chain_id = $1 AND bucket IS NOT NULL AND block_number = $2
ORDER BY tx_index, log_index

-- name: graduations
SELECT token_address, block_number, tx_index, log_index
FROM events
WHERE chain_id = $1 AND token_address = ANY ($2::bytea[]) AND kind = 'Graduated'

-- name: known
-- Tokens that have one of these addresses, or whose pair has.
SELECT token_address, version, pair FROM tokens
WHERE chain_id = $1 AND token_address = ANY ($2::bytea[])
UNION
SELECT token_address, version, pair FROM tokens
WHERE chain_id = $1 AND pair = ANY ($2::bytea[])

-- name: transfers_at
SELECT
    tx_hash, position, version, block_number, block_hash, block_time, tx_index, log_index,
    token_address, sender, recipient, amount
FROM transfers
WHERE chain_id = $1 AND block_number = $2
ORDER BY tx_index, log_index

-- name: launches
-- Every token with the version of its launchpad and the block it was launched in.
SELECT token_address, version, block_number FROM tokens WHERE chain_id = $1

-- name: tokens
SELECT token_address, version FROM tokens WHERE chain_id = $1

-- name: pairs
SELECT pair, token_address FROM tokens WHERE chain_id = $1

-- name: graduating
-- Sold-out markets whose pool is not open yet.
SELECT token_address, version
FROM markets
WHERE chain_id = $1 AND phase = 'graduating'
ORDER BY token_address
LIMIT $2

-- name: event_seqs
-- Walks the unique index from one launchpad to the next instead of reading every event.
WITH RECURSIVE walk AS (
    (
        SELECT emitter, event_seq FROM events
        WHERE chain_id = $1 AND event_seq IS NOT NULL
        ORDER BY emitter DESC, event_seq DESC
        LIMIT 1
    )
    UNION ALL
    SELECT lower.emitter, lower.event_seq
    FROM walk
    CROSS JOIN LATERAL (
        SELECT emitter, event_seq FROM events
        WHERE chain_id = $1 AND emitter < walk.emitter AND event_seq IS NOT NULL
        ORDER BY emitter DESC, event_seq DESC
        LIMIT 1
    ) AS lower
)
SELECT emitter, event_seq FROM walk

-- name: trail
-- The newest recorded blocks.
SELECT number AS block_number, hash AS block_hash FROM blocks
WHERE chain_id = $1
ORDER BY number DESC
LIMIT $2

-- name: token_curves
SELECT token_address, curve_family, curve_a, curve_b, curve_supply, pool_supply
FROM tokens
WHERE chain_id = $1 AND token_address = ANY ($2::bytea[])

-- name: last_markets
-- The launchpad's version is looked up, and the market found by its key from there on: before
-- the first ANALYZE the planner would rather read all markets for each token.
SELECT
    markets.token_address, markets.phase, markets.sold, markets.raised, markets.seq,
    markets.price_e18, markets.market_cap_wei, markets.reserve_token, markets.reserve_weth
FROM tokens
CROSS JOIN LATERAL (
    SELECT * FROM markets
    WHERE (chain_id, version, token_address) >= ($1::bigint, tokens.version, tokens.token_address)
    ORDER BY chain_id, version, token_address
    LIMIT 1
) AS markets
WHERE tokens.chain_id = $1 AND tokens.token_address = ANY ($2::bytea[])
    AND markets.chain_id = $1 AND markets.version = tokens.version
    AND markets.token_address = tokens.token_address

-- name: last_block_of
SELECT coalesce((
    SELECT block_number FROM events
    WHERE chain_id = $1 AND emitter = $2 AND event_seq IS NOT NULL
    ORDER BY event_seq DESC
    LIMIT 1
), -1)

-- name: pending
-- Mined ones that lack only their gas first, then those looked at longest ago. A waiting
-- row whose mined rows came while it was being inserted is left out for them; `settle`
-- removes it.
SELECT
    tx_hash, position, block_number, tx_index, log_index, token_address, user_address, type,
    eth_amount, token_amount, price_e18, gas_fee, status, reason,
    coalesce(block_time, extract(epoch FROM created_at)::bigint) AS time
FROM transactions
WHERE chain_id = $1 AND receipt_due
ORDER BY position < 0, updated_at
LIMIT $2

-- name: checked
-- Looked at just now: others come first the next time.
UPDATE transactions SET updated_at = now()
WHERE chain_id = $1 AND tx_hash = ANY ($2::bytea[]) AND receipt_due

-- name: settle
-- A mined row is CONFIRMED by its events and only learns its gas; a row without mined ones
-- gets the receipt's status. The first mined one keeps the row that waited.
WITH mined AS (
    SELECT min(position) AS position FROM transactions
    WHERE chain_id = $1 AND tx_hash = $2 AND position >= 0
    HAVING count(*) > 0
),
replaced AS (
    DELETE FROM transactions
    USING mined
    WHERE chain_id = $1 AND tx_hash = $2 AND transactions.position = -1
    RETURNING to_jsonb(transactions) AS submission
)
UPDATE transactions
SET
    submission = CASE
        WHEN position = (SELECT mined.position FROM mined)
            THEN coalesce((SELECT replaced.submission FROM replaced), submission)
    END,
    status = CASE WHEN position = -1 THEN $3 ELSE status END,
    reason = CASE WHEN position = -1 THEN $4 ELSE reason END,
    gas_fee = coalesce($5::numeric, gas_fee),
    receipt_due = FALSE,
    updated_at = now()
WHERE chain_id = $1 AND tx_hash = $2 AND (position >= 0 OR NOT EXISTS (SELECT FROM mined))
