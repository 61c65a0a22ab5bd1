-- name: take
-- Locks in order first: two owners that take overlapping buckets must not wait in a circle. $4 has
-- the highest incarnation of each that may be overtaken; one's own may always be.
WITH wanted AS (
    SELECT bucket FROM bucket_owner
    JOIN unnest($2::smallint[], $4::bigint[]) AS given (bucket, overtaken) USING (bucket)
    WHERE chain_id = $1 AND (owner = $3 OR incarnation <= overtaken)
    ORDER BY bucket
    FOR UPDATE OF bucket_owner
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
