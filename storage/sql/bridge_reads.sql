-- name: by_id
-- What the doors gave out, or the vault's own id of it.
SELECT *, extract(epoch FROM created_at)::float8 AS created, extract(epoch FROM updated_at)::float8
    AS updated, extract(epoch FROM ended_at)::float8 AS ended
FROM bridge_requests
WHERE (id = $1 OR message_id = $1) AND source_chain = ANY ($2::bigint[])
ORDER BY requested DESC, created_at
LIMIT 1

-- name: of_user
-- With $3 those alone that have a deposit on the chain, which everybody sees there.
SELECT *, extract(epoch FROM created_at)::float8 AS created, extract(epoch FROM updated_at)::float8
    AS updated, extract(epoch FROM ended_at)::float8 AS ended
FROM bridge_requests
WHERE user_address = $1 AND source_chain = ANY ($2::bigint[])
    AND (NOT $3::boolean OR message_id IS NOT NULL)
    AND ($6::timestamptz IS NULL OR (created_at, id) < ($6::timestamptz, $7::bytea))
ORDER BY created_at DESC, id DESC
LIMIT $4 OFFSET $5

-- name: count_of_user
SELECT count(*) FROM (
    SELECT FROM bridge_requests WHERE user_address = $1 AND source_chain = ANY ($2::bigint[])
        AND (NOT $3::boolean OR message_id IS NOT NULL)
    LIMIT $4
) AS counted

-- name: stuck
-- Deposited, not ended, and without a step for a while, or refused again and again.
SELECT *, extract(epoch FROM created_at)::float8 AS created, extract(epoch FROM updated_at)::float8
    AS updated, NULL::float8 AS ended
FROM bridge_requests AS requests
WHERE ended_at IS NULL AND message_id IS NOT NULL AND source_chain = ANY ($1::bigint[])
    AND (
        step = 'contradiction'
        OR (
            SELECT max(at) FROM bridge_steps AS steps
            WHERE steps.source_chain = requests.source_chain AND steps.version = requests.version
                AND request_id = requests.id
        ) < now() - make_interval(secs => $2::float8)
    )
ORDER BY created_at
LIMIT $3

-- name: events_of
SELECT chain_id, kind, message_id, block_number, tx_hash, block_time
FROM bridge_events
WHERE message_id = ANY ($1::bytea[])

-- name: steps_of
SELECT source_chain, version, request_id, status, step, reason, extract(epoch FROM at)::float8 AS at
FROM bridge_steps
WHERE request_id = ANY ($1::bytea[])
ORDER BY source_chain, version, request_id, number

-- name: cursors
SELECT cursors.chain_id, block_number, cursors.block_time, finalised_number,
    coalesce(final.block_time, cursors.block_time) AS final_time
FROM cursors
LEFT JOIN bridge_blocks AS final
    ON final.chain_id = cursors.chain_id AND final.number = finalised_number
WHERE name = 'bridge' AND cursors.chain_id = ANY ($1::bigint[])

-- name: beats
SELECT closed, paused, extract(epoch FROM now() - at)::float8 AS age_s FROM bridge_beats
