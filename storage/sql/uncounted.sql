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

-- name: transfers
-- Transfers between the chains of the wallets $1 that were paid at their target and are not
-- counted: of the first $3 of everybody that ended above number $2, and of $3 that have not.
SELECT source_chain, version, id, status, message_id, user_address, amount, paid_at, place
FROM (
    SELECT *, row_number() OVER (ORDER BY ended_seq) AS place
    FROM bridge_requests
    WHERE ended_seq > $2
    ORDER BY ended_seq
    LIMIT $3
) AS ended
WHERE user_address = ANY ($1::bytea[]) OR place = $3
UNION ALL
SELECT
    source_chain, version, id, 'COMPLETED' AS status, message_id, user_address, amount,
    (
        SELECT max(block_time) FROM bridge_events
        WHERE bridge_events.message_id = under_way.message_id AND kind = 'Released'
    ) AS paid_at,
    row_number() OVER (ORDER BY id) AS place
FROM (
    SELECT * FROM bridge_requests
    WHERE user_address = ANY ($1::bytea[]) AND ended_at IS NULL AND target_tx_hash IS NOT NULL
        AND refund_tx_hash IS NULL
    LIMIT $3
) AS under_way
