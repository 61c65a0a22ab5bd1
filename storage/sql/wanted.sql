-- name: read
SELECT shards, gateways, stream_gateways FROM wanted WHERE chain_id = $1

-- name: write
-- $2 to $4 are what is asked for, or NULL: as it stands, else as it began ($5 to $7).
INSERT INTO wanted AS now (chain_id, shards, gateways, stream_gateways)
VALUES (
    $1,
    coalesce($2::integer, $5::integer),
    coalesce($3::integer, $6::integer),
    coalesce($4::integer, $7::integer)
)
ON CONFLICT (chain_id) DO UPDATE SET
    shards = coalesce($2, now.shards),
    gateways = coalesce($3, now.gateways),
    stream_gateways = coalesce($4, now.stream_gateways),
    updated_at = now()
RETURNING shards, gateways, stream_gateways
