-- name: save
-- Fenced by the row of the bucket's owner, share-locked so that a taker waits for this
-- statement. Keeps the new snapshot and the newest other one.
WITH owned AS (
    SELECT bucket FROM bucket_owner
    WHERE chain_id = $1 AND bucket = $2 AND incarnation = $3
    FOR SHARE
),
stored AS (
    INSERT INTO snapshots (
        chain_id, bucket, incarnation, block_number, block_hash, schema, payload, checksum
    )
    SELECT $1, bucket, $3, $4, $5::bytea, $6, $7, $8::bytea FROM owned
    ON CONFLICT (chain_id, bucket, block_number) DO UPDATE SET
        block_hash = EXCLUDED.block_hash,
        incarnation = EXCLUDED.incarnation,
        schema = EXCLUDED.schema,
        payload = EXCLUDED.payload,
        checksum = EXCLUDED.checksum,
        created_at = now()
    RETURNING block_number
),
dropped AS (
    DELETE FROM snapshots AS old
    USING stored
    WHERE old.chain_id = $1 AND old.bucket = $2 AND old.block_number <> stored.block_number
        AND old.block_number < (
            SELECT max(other.block_number) FROM snapshots AS other
            WHERE other.chain_id = $1 AND other.bucket = $2
                AND other.block_number <> stored.block_number
        )
)
SELECT count(*) FROM stored

-- name: load
SELECT bucket, incarnation, block_number, block_hash, schema, payload, checksum
FROM snapshots
WHERE chain_id = $1 AND bucket = ANY ($2::smallint[])
ORDER BY bucket, block_number DESC
