-- name: lock
-- One writer at a time; the edge of what is recorded and of what is final.
SELECT pg_advisory_xact_lock(1634624623, ($1::bigint % 2147483647)::integer)

-- name: edges
SELECT
    cursors.block_number AS number, cursors.block_time AS time,
    least(cursors.finalised_number, cursors.block_number) AS final_number,
    coalesce(
        (
            SELECT blocks.block_time FROM blocks
            WHERE blocks.chain_id = $1
                AND blocks.number <= least(cursors.finalised_number, cursors.block_number)
            ORDER BY blocks.number DESC
            LIMIT 1
        ),
        0
    ) AS final_time,
    coalesce(
        (SELECT min(price_history.time) FROM price_history WHERE price_history.chain_id = $1), 0
    ) AS first_time,
    analytics_windows.since, analytics_windows.until,
    analytics_windows.block_number AS seen_number
FROM cursors
LEFT JOIN analytics_windows ON analytics_windows.chain_id = cursors.chain_id
WHERE cursors.chain_id = $1 AND cursors.name = 'recorder'

-- name: forget_day
UPDATE token_stats
SET final_volume_day = 0, final_trades_day = 0, changing = TRUE
WHERE chain_id = $1 AND (final_volume_day, final_trades_day) IS DISTINCT FROM (0, 0)

-- name: roll
-- Minutes in [$2, $3) became final, those in [$4, $5) left the day; of the former only those from
-- $6 on are in the day at all.
INSERT INTO token_stats (
    chain_id, version, token_address, final_volume_day, final_trades_day, final_volume_ever,
    changing
)
SELECT
    $1, version, token_address,
    sum(sign * in_day * volume_eth), sum(sign * in_day * trades),
    sum(CASE WHEN sign > 0 THEN volume_eth ELSE 0 END), TRUE
FROM (
    SELECT version, token_address, 1 AS sign, (time >= $6)::integer AS in_day, volume_eth, trades
    FROM price_history
    WHERE chain_id = $1 AND time >= $2 AND time < $3
    UNION ALL
    SELECT version, token_address, -1, 1, volume_eth, trades
    FROM price_history
    WHERE chain_id = $1 AND time >= $4 AND time < $5
) AS moved
GROUP BY version, token_address
ON CONFLICT (chain_id, version, token_address) DO UPDATE SET
    final_volume_day = token_stats.final_volume_day + excluded.final_volume_day,
    final_trades_day = token_stats.final_trades_day + excluded.final_trades_day,
    final_volume_ever = token_stats.final_volume_ever + excluded.final_volume_ever,
    changing = TRUE

-- name: refresh
-- Adds what is not final ([$2, …), of the day only from $5 on) and the last hour ([$3, …)) to
-- what is; $4 is a day ago. A token stays `changing` while anything of it may still leave either.
WITH recent AS (
    SELECT
        version, token_address,
        coalesce(sum(volume_eth) FILTER (WHERE time >= greatest($2::bigint, $5)), 0) AS day,
        coalesce(sum(trades) FILTER (WHERE time >= greatest($2::bigint, $5)), 0) AS trades,
        coalesce(sum(volume_eth) FILTER (WHERE time >= $2), 0) AS volume,
        coalesce(sum(volume_eth) FILTER (WHERE time >= $3), 0) AS hour
    FROM price_history
    WHERE chain_id = $1 AND time >= least($2::bigint, $3::bigint)
    GROUP BY version, token_address
),
touched AS (
    SELECT version, token_address FROM recent
    UNION
    SELECT version, token_address FROM token_stats WHERE chain_id = $1 AND changing
)
INSERT INTO token_stats (
    chain_id, version, token_address, volume_24h, trades_24h, volume_1h, volume_ever,
    price_before, changing
)
SELECT
    $1, touched.version, touched.token_address, coalesce(recent.day, 0),
    coalesce(recent.trades, 0), coalesce(recent.hour, 0), coalesce(recent.volume, 0),
    before.close, recent.token_address IS NOT NULL
FROM touched
LEFT JOIN recent USING (version, token_address)
LEFT JOIN LATERAL (
    SELECT candle.close FROM price_history AS candle
    WHERE candle.chain_id = $1 AND candle.version = touched.version
        AND candle.token_address = touched.token_address AND candle.time <= $4
    ORDER BY candle.time DESC
    LIMIT 1
) AS before ON TRUE
ON CONFLICT (chain_id, version, token_address) DO UPDATE SET
    volume_24h = token_stats.final_volume_day + excluded.volume_24h,
    trades_24h = token_stats.final_trades_day + excluded.trades_24h,
    volume_1h = excluded.volume_1h,
    volume_ever = token_stats.final_volume_ever + excluded.volume_ever,
    price_before = excluded.price_before,
    changing = excluded.changing
-- Most of those of the last hour stand still between two turns, and each index costs.
WHERE (
    token_stats.volume_24h, token_stats.trades_24h, token_stats.volume_1h,
    token_stats.volume_ever, token_stats.price_before, token_stats.changing
) IS DISTINCT FROM (
    token_stats.final_volume_day + excluded.volume_24h,
    token_stats.final_trades_day + excluded.trades_24h, excluded.volume_1h,
    token_stats.final_volume_ever + excluded.volume_ever, excluded.price_before,
    excluded.changing
)

-- name: orphans
-- Of launches that were taken back.
DELETE FROM token_stats
WHERE chain_id = $1 AND NOT EXISTS (
    SELECT FROM tokens
    WHERE tokens.chain_id = token_stats.chain_id AND tokens.version = token_stats.version
        AND tokens.token_address = token_stats.token_address
)

-- name: traders
-- Wallets that traded above block $2, and those that were worked out before it was final ($3).
WITH touched AS (
    SELECT user_address AS trader FROM transactions
    WHERE chain_id = $1 AND block_number > $2 AND type IN ('BUY', 'SELL')
    UNION
    SELECT trader FROM trader_stats WHERE chain_id = $1 AND block_number > $3
)
INSERT INTO trader_stats (chain_id, trader, realised_wei, volume_wei, tokens, block_number)
SELECT
    $1, touched.trader,
    coalesce(
        sum(held.received_wei::numeric - held.spent_wei::numeric + held.cost_wei::numeric), 0
    ),
    coalesce(sum(held.spent_wei::numeric + held.received_wei::numeric), 0),
    count(held.holder) FILTER (WHERE held.bought_tokens > 0 OR held.sold_tokens > 0),
    $4
FROM touched
LEFT JOIN balances AS held ON held.chain_id = $1 AND held.holder = touched.trader
GROUP BY touched.trader
ON CONFLICT (chain_id, trader) DO UPDATE SET
    realised_wei = excluded.realised_wei, volume_wei = excluded.volume_wei,
    tokens = excluded.tokens, block_number = excluded.block_number

-- name: settle_traders
-- What was worked out at a block that is final by now need not be looked at again.
UPDATE trader_stats SET block_number = -1 WHERE chain_id = $1 AND block_number BETWEEN 0 AND $2

-- name: overview
INSERT INTO platform_stats (chain_id, name, value)
SELECT
    $1, 'overview',
    jsonb_build_object(
        'tokens', (
            SELECT count(*) FROM tokens WHERE chain_id = $1 AND visibility = 'visible'
        ),
        'graduated', (
            SELECT count(*) FROM markets WHERE chain_id = $1 AND phase = 'graduated'
        ),
        'trades', (SELECT coalesce(sum(trades), 0) FROM markets WHERE chain_id = $1),
        'volume24h', (
            SELECT coalesce(sum(volume_24h), 0)::text FROM token_stats
            WHERE chain_id = $1 AND volume_24h > 0
        ),
        'volumeEver', (
            SELECT coalesce(sum(volume_ever), 0)::text FROM token_stats WHERE chain_id = $1
        ),
        'block', $2::bigint, 'time', $3::bigint
    )
ON CONFLICT (chain_id, name) DO UPDATE SET value = excluded.value

-- name: creators
-- By the volume of their tokens, and how far they came.
INSERT INTO platform_stats (chain_id, name, value)
SELECT
    $1, 'creators',
    coalesce(
        jsonb_agg(
            jsonb_build_object(
                'creator', encode(creator, 'hex'), 'tokens', tokens, 'graduated', graduated,
                'volume24h', volume_24h::text, 'volumeEver', volume_ever::text,
                'marketCap', market_cap::text
            ) ORDER BY volume_ever DESC, tokens DESC, creator
        ),
        '[]'
    )
FROM (
    SELECT
        tokens.creator, count(*) AS tokens,
        count(*) FILTER (WHERE markets.phase = 'graduated') AS graduated,
        coalesce(sum(token_stats.volume_24h), 0) AS volume_24h,
        coalesce(sum(token_stats.volume_ever), 0) AS volume_ever,
        max(markets.market_cap_wei)::numeric AS market_cap
    FROM tokens
    JOIN markets USING (chain_id, version, token_address)
    LEFT JOIN token_stats USING (chain_id, version, token_address)
    WHERE tokens.chain_id = $1 AND tokens.visibility = 'visible'
    GROUP BY tokens.creator
    ORDER BY volume_ever DESC, tokens DESC, tokens.creator
    LIMIT $2
) AS ranked
ON CONFLICT (chain_id, name) DO UPDATE SET value = excluded.value

-- name: move
INSERT INTO analytics_windows (chain_id, since, until, block_number)
VALUES ($1, $2, $3, $4)
ON CONFLICT (chain_id) DO UPDATE SET
    since = excluded.since, until = excluded.until, block_number = excluded.block_number
