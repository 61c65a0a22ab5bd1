-- Which documents and how much of the chain are known, for whoever cleans up.

-- name: recorded_time
SELECT block_time FROM cursors
WHERE chain_id = $1 AND name = 'recorder' AND block_number >= 0

-- name: hashes
-- Hidden tokens too: they are launched all the same.
SELECT DISTINCT metadata_hash FROM tokens
WHERE chain_id = $1 AND metadata_hash = ANY ($2::bytea[])
