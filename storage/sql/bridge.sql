-- name: lock_cursor
INSERT INTO cursors AS held (chain_id, name) VALUES ($1, 'bridge')
ON CONFLICT (chain_id, name) DO UPDATE SET name = held.name
RETURNING block_number, block_hash, block_time, finalised_number

-- name: position
SELECT block_number, block_hash, block_time, finalised_number FROM cursors
WHERE chain_id = $1 AND name = 'bridge'

-- name: block_hash
SELECT hash FROM bridge_blocks WHERE chain_id = $1 AND number = $2

-- name: trail
SELECT number AS block_number, hash AS block_hash FROM bridge_blocks
WHERE chain_id = $1
ORDER BY number DESC
LIMIT $2

-- name: event_seq
SELECT coalesce(max(event_seq), 0) FROM bridge_events WHERE chain_id = $1 AND emitter = $2

-- name: insert_blocks
INSERT INTO bridge_blocks (chain_id, number, hash, parent_hash, block_time)
SELECT $1, input.*
FROM unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::bigint[]) AS input

-- name: prune_blocks
DELETE FROM bridge_blocks WHERE chain_id = $1 AND number < $2

-- name: move_cursor
UPDATE cursors
SET block_number = $2, block_hash = $3::bytea, block_time = $4, updated_at = now()
WHERE chain_id = $1 AND name = 'bridge'

-- name: insert_event
INSERT INTO bridge_events (
    chain_id, tx_hash, position, version, block_number, block_hash, block_time, tx_index,
    log_index, emitter, kind, event_seq, message_id, payload
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14::text::jsonb)

-- name: meet_request
-- A deposit that names the request of its depositor. Closed for want of a deposit, it opens.
UPDATE bridge_requests
SET
    message_id = $4, target_chain = $5, recipient = $6, amount = $7::numeric, fee = $8::numeric,
    nonce = $9,
    deadline = $10, source_tx_hash = $11, status = 'PENDING', step = 'confirming', reason = '',
    ended_at = NULL, attempts = 0, next_at = now(), revision = revision + 1, updated_at = now()
WHERE source_chain = $1 AND version = $2 AND id = $12 AND user_address = $3
    AND requested AND message_id IS NULL

-- name: insert_user
INSERT INTO users (wallet_address) VALUES ($1) ON CONFLICT DO NOTHING

-- name: insert_deposit
-- A deposit that nobody asked for at the doors.
INSERT INTO bridge_requests (
    source_chain, version, user_address, id, message_id, target_chain, recipient, amount, fee,
    nonce, deadline, source_tx_hash, requested, step
)
VALUES (
    $1, $2, $3, $4, $4, $5, $6, $7::numeric, $8::numeric, $9, $10, $11, FALSE, 'confirming'
)

-- name: paid
-- The transaction that paid, at the target or back at the source.
UPDATE bridge_requests
SET
    target_tx_hash = CASE WHEN $2 = 'Released' THEN $3::bytea ELSE target_tx_hash END,
    refund_tx_hash = CASE WHEN $2 = 'Refunded' THEN $3::bytea ELSE refund_tx_hash END
WHERE message_id = $1

-- name: wake
UPDATE bridge_requests SET next_at = now(), revision = revision + 1, attempts = 0
WHERE message_id = ANY ($1::bytea[]) AND ended_at IS NULL

-- name: events_above
SELECT kind, message_id, tx_hash FROM bridge_events
WHERE chain_id = $1 AND block_number > $2 AND message_id IS NOT NULL

-- name: forget_deposits
-- Their deposit was taken back: what the doors asked for waits again.
UPDATE bridge_requests
SET
    message_id = NULL, nonce = NULL, fee = NULL, deadline = NULL, source_tx_hash = NULL,
    status = 'PENDING', step = 'awaiting_deposit', reason = '', next_at = now(),
    revision = revision + 1, updated_at = now()
WHERE message_id = ANY ($1::bytea[]) AND requested

-- name: delete_deposits
DELETE FROM bridge_requests WHERE message_id = ANY ($1::bytea[]) AND NOT requested

-- name: unpaid
UPDATE bridge_requests
SET
    target_tx_hash = CASE WHEN target_tx_hash = ANY ($2::bytea[]) THEN NULL ELSE target_tx_hash END,
    refund_tx_hash = CASE WHEN refund_tx_hash = ANY ($2::bytea[]) THEN NULL ELSE refund_tx_hash END
WHERE message_id = ANY ($1::bytea[])

-- name: delete_events
DELETE FROM bridge_events WHERE chain_id = $1 AND block_number > $2

-- name: delete_blocks
DELETE FROM bridge_blocks WHERE chain_id = $1 AND number > $2

-- name: ancestor
SELECT hash, block_time FROM bridge_blocks WHERE chain_id = $1 AND number = $2

-- name: finalise
UPDATE cursors SET finalised_number = $2, updated_at = now()
WHERE chain_id = $1 AND name = 'bridge' AND finalised_number < $2
RETURNING 1

-- name: finalised_messages
SELECT DISTINCT message_id FROM bridge_events
WHERE chain_id = $1 AND block_number > $2 AND block_number <= $3 AND message_id IS NOT NULL

-- name: lease
-- Those that are due, kept from another relayer for a moment; it may look all the same. What is
-- below $3 comes last: anybody can make thousands of those for next to nothing.
UPDATE bridge_requests
SET next_at = now() + make_interval(secs => $2::float8)
WHERE (source_chain, version, id) IN (
    SELECT source_chain, version, id FROM bridge_requests
    WHERE ended_at IS NULL AND next_at <= now()
    ORDER BY amount < $3::numeric, next_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
RETURNING
    amount, source_chain, version, id, target_chain, message_id, status, step, reason, attempts,
    revision,
    extract(epoch FROM now() - created_at)::bigint AS age_s

-- name: events_of
SELECT chain_id, kind, message_id, block_number, tx_hash, payload
FROM bridge_events
WHERE message_id = ANY ($1::bytea[])

-- name: sending
SELECT source_chain, version, request_id, kind FROM bridge_sends
WHERE outcome IS NULL AND request_id = ANY ($1::bytea[])

-- name: cursors
SELECT chain_id, block_number, block_time, finalised_number FROM cursors WHERE name = 'bridge'

-- name: advance
-- What came in meanwhile wins: then it is looked at again at once.
UPDATE bridge_requests
SET
    status = $4, step = $5, reason = $6, attempts = $7,
    next_at = CASE
        WHEN revision = $9 THEN now() + make_interval(secs => $8::float8) ELSE now()
    END,
    updated_at = now()
WHERE source_chain = $1 AND version = $2 AND id = $3 AND ended_at IS NULL

-- name: end
UPDATE bridge_requests
SET status = $4, step = $5, reason = $6, ended_at = now(), updated_at = now()
WHERE source_chain = $1 AND version = $2 AND id = $3 AND ended_at IS NULL AND revision = $7
RETURNING message_id, target_chain, user_address, recipient, amount, fee, source_tx_hash,
    target_tx_hash, refund_tx_hash, (
        SELECT max(block_time) FROM bridge_events
        WHERE bridge_events.message_id = bridge_requests.message_id
            AND kind IN ('Released', 'Refunded')
    ) AS paid_at

-- name: outbox
INSERT INTO bridge_outbox (seq, source_chain, version, request_id, status, payload)
SELECT coalesce(max(seq), 0) + 1, $1, $2, $3, $4, $5::text::jsonb FROM bridge_outbox
ON CONFLICT (source_chain, version, request_id) DO NOTHING

-- name: ended_after
SELECT seq, source_chain, version, request_id, status, payload FROM bridge_outbox
WHERE seq > $1
ORDER BY seq
LIMIT $2

-- name: waiting_offers
SELECT count(*) FROM bridge_sends
WHERE chain_id = $1 AND sender = $2 AND outcome IS NULL AND mined_block IS NULL

-- name: reserve
-- The account's next nonce, by what the chain has used and what was reserved before.
INSERT INTO bridge_sends (
    chain_id, sender, nonce, source_chain, version, request_id, kind, to_address, data, gas
)
SELECT
    $1::bigint, $2::bytea,
    greatest($3::bigint, (
        SELECT coalesce(max(nonce), -1) + 1 FROM bridge_sends WHERE chain_id = $1 AND sender = $2
    )),
    $4::bigint, $5::integer, $6::bytea, $7::text, $8::bytea, $9::bytea, $10::bigint
WHERE NOT EXISTS (
    SELECT FROM bridge_sends
    WHERE outcome IS NULL AND source_chain = $4 AND version = $5 AND request_id = $6
)
AND EXISTS (
    SELECT FROM bridge_requests
    WHERE source_chain = $4 AND version = $5 AND id = $6 AND ended_at IS NULL
)
RETURNING nonce

-- name: fill
INSERT INTO bridge_sends (chain_id, sender, nonce, kind, to_address, data, gas)
VALUES ($1, $2, $3, 'fill', $2, '', 21000)
ON CONFLICT (chain_id, sender, nonce) DO NOTHING

-- name: open_sends
SELECT
    sends.chain_id, sends.sender, sends.nonce, source_chain, version, request_id, kind, to_address,
    data, gas, mined_block, offers.tx_hash, max_fee, priority_fee,
    extract(epoch FROM now() - offered_at)::float8 AS waited_s
FROM bridge_sends AS sends
LEFT JOIN bridge_offers AS offers
    ON offers.chain_id = sends.chain_id AND offers.sender = sends.sender
    AND offers.nonce = sends.nonce
WHERE sends.chain_id = $1 AND sends.sender = $2 AND outcome IS NULL
    AND (mined_block IS NULL OR mined_block <= $3 OR sends.nonce >= $4)
ORDER BY sends.nonce, offers.number

-- name: offer
INSERT INTO bridge_offers (chain_id, tx_hash, sender, nonce, number, max_fee, priority_fee)
SELECT $1, $2::bytea, $3::bytea, $4::bigint, coalesce(max(number), 0) + 1, $5::numeric, $6::numeric
FROM bridge_offers WHERE chain_id = $1 AND sender = $3::bytea AND nonce = $4::bigint
ON CONFLICT (chain_id, tx_hash) DO NOTHING

-- name: mined
UPDATE bridge_sends SET mined_block = $4, updated_at = now()
WHERE chain_id = $1 AND sender = $2 AND nonce = $3 AND outcome IS NULL
    AND mined_block IS DISTINCT FROM $4

-- name: settle
UPDATE bridge_sends
SET outcome = $4, tx_hash = $5::bytea, mined_block = $6, updated_at = now()
WHERE chain_id = $1 AND sender = $2 AND nonce = $3 AND outcome IS NULL
RETURNING source_chain, version, request_id

-- name: wake_request
-- After a transaction that did not do its work, ever later: by how many of its did not, since
-- what else was tried in vain (an attestor that was away) says nothing of the next one.
UPDATE bridge_requests
SET
    next_at = now() + make_interval(
        secs => CASE
            WHEN $4 THEN (
                SELECT least(power(2, least(count(*), 8)), 120) FROM bridge_sends AS failed
                WHERE failed.source_chain = $1 AND failed.version = $2 AND failed.request_id = $3
                    AND failed.outcome IN ('reverted', 'elsewhere')
            )
            ELSE 0
        END
    ),
    revision = revision + 1
WHERE source_chain = $1 AND version = $2 AND id = $3 AND ended_at IS NULL

-- name: open_request
INSERT INTO bridge_requests (
    source_chain, version, id, target_chain, user_address, recipient, amount
)
VALUES ($1, $2, $3, $4, $5, $6, $7::numeric)
ON CONFLICT (source_chain, version, id) DO NOTHING

-- name: counts
SELECT status, step, count(*) AS requests,
    max(extract(epoch FROM now() - created_at))::bigint AS oldest_s
FROM bridge_requests
WHERE ended_at IS NULL
GROUP BY status, step

-- name: intents
SELECT count(*) FROM (
    SELECT FROM bridge_requests
    WHERE source_chain = ANY ($1::bigint[]) AND user_address = $2 AND message_id IS NULL
        AND ended_at IS NULL
    LIMIT $3
) AS waiting

-- name: asked_before
SELECT target_chain, user_address, recipient, amount, message_id FROM bridge_requests
WHERE source_chain = $1 AND version = $2 AND id = $3

-- name: forget_intents
-- Nobody deposited for them; a deposit that comes all the same has a row of its own.
DELETE FROM bridge_requests WHERE (source_chain, version, id) IN (
    SELECT source_chain, version, id FROM bridge_requests AS old
    WHERE message_id IS NULL AND ended_at < now() - make_interval(secs => $1::float8)
        AND NOT EXISTS (
            SELECT FROM bridge_sends AS sent
            WHERE sent.source_chain = old.source_chain AND sent.version = old.version
                AND sent.request_id = old.id
        )
    LIMIT $2
)

-- name: untold
SELECT
    steps.source_chain, steps.version, request_id, number, steps.status, steps.step, steps.reason,
    extract(epoch FROM at)::float8 AS at, target_chain, message_id, user_address, recipient,
    amount, source_tx_hash, target_tx_hash, refund_tx_hash
FROM bridge_steps AS steps
JOIN bridge_requests AS requests ON requests.source_chain = steps.source_chain
    AND requests.version = steps.version AND requests.id = request_id
WHERE NOT told
ORDER BY at, number
LIMIT $1
FOR UPDATE OF steps SKIP LOCKED

-- name: tell
UPDATE bridge_steps SET told = TRUE
FROM unnest($1::bigint[], $2::integer[], $3::bytea[], $4::integer[])
    AS done (source_chain, version, request_id, number)
WHERE bridge_steps.source_chain = done.source_chain AND bridge_steps.version = done.version
    AND bridge_steps.request_id = done.request_id AND bridge_steps.number = done.number
