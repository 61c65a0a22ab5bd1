-- Old candles are merged to coarser ones. $1 is the chain.

-- name: lock
-- The analytics role's own lock: its windows must not move meanwhile.
SELECT pg_advisory_xact_lock(1634624623, ($1::bigint % 2147483647)::integer)

-- name: edges
-- What is final, and out of every window that is still counted from candles.
SELECT
    cursors.block_time AS time,
    least(
        analytics_windows.since, analytics_windows.until,
        (
            SELECT blocks.block_time FROM blocks
            WHERE blocks.chain_id = $1
                AND blocks.number <= least(cursors.finalised_number, cursors.block_number)
            ORDER BY blocks.number DESC
            LIMIT 1
        )
    ) AS settled
FROM cursors
JOIN analytics_windows ON analytics_windows.chain_id = cursors.chain_id
WHERE cursors.chain_id = $1 AND cursors.name = 'recorder'

-- name: mark
SELECT until, version, token_address FROM candle_thinning WHERE chain_id = $1 AND step_s = $2

-- name: first_from
SELECT min(time) FROM price_history WHERE chain_id = $1 AND time >= $2

-- name: merge
-- Candles in [$2, $2 + $3) of the next $6 tokens after ($4, $5) become one each. Returns how many
-- fewer there are, and the last token; nothing when there is none.
WITH picked AS (
    SELECT DISTINCT version, token_address FROM price_history
    WHERE chain_id = $1 AND time >= $2 AND time < $2 + $3::bigint
        AND (version, token_address::bytea) > ($4::integer, $5::bytea)
    ORDER BY version, token_address
    LIMIT $6
),
old AS (
    DELETE FROM price_history AS candle
    USING picked
    WHERE candle.chain_id = $1 AND candle.version = picked.version
        AND candle.token_address = picked.token_address
        AND candle.time >= $2 AND candle.time < $2 + $3::bigint
    RETURNING candle.*
),
merged AS (
    INSERT INTO price_history (
        chain_id, version, token_address, time, open, high, low, close, volume_eth,
        volume_token, trades
    )
    SELECT
        $1, version, token_address, $2,
        (array_agg(open ORDER BY time))[1], max(high), min(low),
        (array_agg(close ORDER BY time DESC))[1],
        sum(volume_eth), sum(volume_token), sum(trades)
    FROM old
    GROUP BY version, token_address
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM old) - (SELECT count(*) FROM merged) AS gone,
    last.version, last.token_address
FROM picked AS last
ORDER BY last.version DESC, last.token_address DESC
LIMIT 1

-- name: move
INSERT INTO candle_thinning (chain_id, step_s, until, version, token_address)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (chain_id, step_s) DO UPDATE SET
    until = excluded.until, version = excluded.version, token_address = excluded.token_address

-- name: marks
SELECT step_s, until + CASE WHEN version >= 0 THEN step_s ELSE 0 END AS edge
FROM candle_thinning
WHERE chain_id = $1
