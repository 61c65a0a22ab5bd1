-- name: take
-- Locks in order first: two owners that take overlapping buckets must not wait in a circle.
WITH wanted AS (
    SELECT bucket FROM bucket_owner
    WHERE chain_id = $1 AND bucket = ANY ($2::smallint[])
    ORDER BY bucket
    FOR UPDATE
)
UPDATE bucket_owner
SET owner = $3, incarnation = bucket_owner.incarnation + 1, updated_at = now()
FROM wanted
WHERE bucket_owner.chain_id = $1 AND bucket_owner.bucket = wanted.bucket
RETURNING bucket_owner.bucket, bucket_owner.incarnation

-- name: prefill
INSERT INTO bucket_owner (chain_id, bucket)
SELECT $1, generate_series(0, $2::integer - 1)
ON CONFLICT (chain_id, bucket) DO NOTHING

-- name: owners
SELECT bucket, owner, incarnation
FROM bucket_owner
WHERE chain_id = $1 AND incarnation > 0
ORDER BY bucket
