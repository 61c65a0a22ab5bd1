-- name: horizon
-- Up to here everything is recorded and final; the time of the last block known by then.
SELECT
    edge.number,
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
-- Final work above $2 and up to $3 with its events, in the order of the chain.
SELECT
    events.kind, events.tx_hash, events.position, events.version, events.block_number,
    events.block_hash, events.block_time, events.tx_index, events.log_index, events.emitter,
    events.payload, tokens.creator
FROM outbox
JOIN events
    ON events.chain_id = outbox.chain_id
    AND events.tx_hash = decode(outbox.payload ->> 'tx', 'hex')
    AND events.position = (outbox.payload ->> 'position')::integer
JOIN tokens
    ON tokens.chain_id = outbox.chain_id AND tokens.version = outbox.version
    AND tokens.token_address = outbox.token_address
WHERE outbox.chain_id = $1 AND outbox.visible_at IS NOT NULL
    AND outbox.block_number > $2 AND outbox.block_number <= $3
ORDER BY outbox.block_number, events.tx_index, events.log_index
LIMIT $4
