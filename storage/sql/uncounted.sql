-- name: tip
SELECT block_number FROM cursors WHERE chain_id = $1 AND name = $2

-- name: trades
-- Trades of the wallets $2 among the first $4 trades of everybody above block $3; `place` counts
-- those, so that who reads to the last one knows that there may be more.
SELECT
    events.kind, events.tx_hash, events.position, events.version, events.block_number,
    events.block_hash, events.block_time, events.tx_index, events.log_index, events.emitter,
    events.payload, first.user_address AS creator, first.place
FROM (
    SELECT
        chain_id, tx_hash, position, user_address,
        row_number() OVER (ORDER BY block_number, tx_index, log_index) AS place
    FROM transactions
    WHERE chain_id = $1 AND type IN ('BUY', 'SELL') AND block_number IS NOT NULL
        AND block_number > $3
    ORDER BY block_number, tx_index, log_index
    LIMIT $4
) AS first
JOIN events
    ON events.chain_id = first.chain_id AND events.tx_hash = first.tx_hash
    AND events.position = first.position
WHERE first.user_address = ANY ($2::bytea[]) OR first.place = $4
ORDER BY first.place

-- name: launches
-- Launches and graduations above block $3 of the $4 newest tokens of the wallets $2.
SELECT
    events.kind, events.tx_hash, events.position, events.version, events.block_number,
    events.block_hash, events.block_time, events.tx_index, events.log_index, events.emitter,
    events.payload, made.creator
FROM (
    SELECT chain_id, token_address, creator
    FROM tokens
    WHERE chain_id = $1 AND creator = ANY ($2::bytea[])
    ORDER BY block_number DESC, tx_index DESC, log_index DESC
    LIMIT $4
) AS made
JOIN events
    ON events.chain_id = made.chain_id AND events.token_address = made.token_address
    AND events.kind IN ('TokenCreated', 'Graduated') AND events.block_number > $3
ORDER BY events.block_number, events.tx_index, events.log_index
LIMIT $4
