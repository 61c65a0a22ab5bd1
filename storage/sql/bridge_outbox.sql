-- name: add
-- The next number, whatever rows are gone. One transaction at a time does this, see the lock.
WITH given AS (
    INSERT INTO bridge_outbox (seq, source_chain, version, request_id, status, payload)
    SELECT
        greatest(
            (SELECT seq FROM bridge_outbox_marks WHERE name = 'last'),
            (SELECT max(seq) FROM bridge_outbox),
            0
        ) + 1,
        $1, $2, $3, $4, $5::text::jsonb
    ON CONFLICT (source_chain, version, request_id) DO NOTHING
    RETURNING seq
),
counted AS (
    INSERT INTO bridge_outbox_marks (name, seq) SELECT 'last', seq FROM given
    ON CONFLICT (name) DO UPDATE SET seq = EXCLUDED.seq, updated_at = now()
)
UPDATE bridge_requests SET ended_seq = given.seq
FROM given
WHERE source_chain = $1 AND version = $2 AND id = $3

-- name: ended_after
SELECT seq, source_chain, version, request_id, status, payload FROM bridge_outbox
WHERE seq > $1
ORDER BY seq
LIMIT $2

-- name: history
-- As `ended_after`, from the requests themselves: their rows are gone up to the floor, $2.
SELECT
    ended_seq AS seq, source_chain, version, id AS request_id, status, message_id, target_chain,
    user_address, recipient, amount, fee, source_tx_hash, target_tx_hash, refund_tx_hash, paid_at
FROM bridge_requests
WHERE ended_seq > $1 AND ended_seq <= $2
ORDER BY ended_seq
LIMIT $3

-- name: floor
-- Up to here rows were taken away, 0 while none was.
SELECT coalesce(max(seq), 0) FROM bridge_outbox_marks WHERE name = 'floor'

-- name: told
-- How far a consumer has come. Never ahead of where its own store says.
INSERT INTO bridge_outbox_marks (name, seq) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET seq = EXCLUDED.seq, updated_at = now()

-- name: lock_floor
-- One sweeper at a time.
INSERT INTO bridge_outbox_marks (name, seq) VALUES ('floor', 0)
ON CONFLICT (name) DO UPDATE SET updated_at = now()

-- name: consumers
SELECT name, seq FROM bridge_outbox_marks WHERE starts_with(name, $1)

-- name: oldest
-- The first rows up to $1, and whether each was there for so long.
SELECT seq, visible_at < now() - make_interval(secs => $3::integer) AS old
FROM bridge_outbox
WHERE seq <= $1
ORDER BY seq
LIMIT $2

-- name: take_away
DELETE FROM bridge_outbox WHERE seq <= $1

-- name: raise_floor
UPDATE bridge_outbox_marks SET seq = greatest(seq, $1), updated_at = now() WHERE name = 'floor'
