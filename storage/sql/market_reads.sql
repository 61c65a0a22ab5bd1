-- What pages beside a token's own show. `{rows}` of a token are those of the list queries.

-- name: trending
-- By the volume of the last hour.
SELECT
    tokens.*, markets.phase, markets.sold, markets.raised, markets.price_e18,
    markets.market_cap_wei, markets.trades, markets.holders,
    extract(epoch FROM markets.updated_at)::bigint AS updated_time,
    token_stats.volume_24h, token_stats.volume_1h, token_stats.trades_24h,
    token_stats.price_before
FROM token_stats
JOIN tokens USING (chain_id, version, token_address)
JOIN markets USING (chain_id, version, token_address)
WHERE token_stats.chain_id = $1 AND token_stats.volume_1h > 0 AND tokens.visibility = 'visible'
ORDER BY token_stats.volume_1h DESC, token_stats.token_address DESC
LIMIT $2 OFFSET $3

-- name: count_trending
SELECT count(*) FROM (
    SELECT FROM token_stats
    WHERE chain_id = $1 AND volume_1h > 0 AND token_address NOT IN (
        SELECT token_address FROM tokens WHERE chain_id = $1 AND visibility = 'hidden'
    )
    ORDER BY volume_1h, token_address
    LIMIT $2
) AS counted

-- name: king
-- The dearest that is still on its curve.
SELECT
    tokens.*, markets.phase, markets.sold, markets.raised, markets.price_e18,
    markets.market_cap_wei, markets.trades, markets.holders,
    extract(epoch FROM markets.updated_at)::bigint AS updated_time,
    coalesce(token_stats.volume_24h, 0) AS volume_24h
FROM markets
JOIN tokens USING (chain_id, version, token_address)
LEFT JOIN token_stats USING (chain_id, version, token_address)
WHERE markets.chain_id = $1 AND markets.phase = 'curve' AND tokens.visibility = 'visible'
ORDER BY markets.market_cap_wei DESC, markets.token_address DESC
LIMIT 1

-- name: of_creator
SELECT
    tokens.*, markets.phase, markets.sold, markets.raised, markets.price_e18,
    markets.market_cap_wei, markets.trades, markets.holders,
    extract(epoch FROM markets.updated_at)::bigint AS updated_time,
    coalesce(token_stats.volume_24h, 0) AS volume_24h
FROM tokens
JOIN markets USING (chain_id, version, token_address)
LEFT JOIN token_stats USING (chain_id, version, token_address)
WHERE tokens.chain_id = $1 AND tokens.creator = $2 AND tokens.visibility = 'visible'
ORDER BY tokens.block_number DESC, tokens.tx_index DESC, tokens.log_index DESC
LIMIT $3 OFFSET $4

-- name: count_of_creator
SELECT count(*) FROM (
    SELECT FROM tokens
    WHERE chain_id = $1 AND creator = $2 AND visibility = 'visible'
    LIMIT $3
) AS counted

-- name: holders
-- The largest first, launchpad and pair left out.
SELECT balances.holder, balances.balance, balances.first_buy FROM balances
JOIN tokens USING (chain_id, version, token_address)
WHERE balances.chain_id = $1 AND balances.token_address = $2 AND balances.balance > 0
    AND balances.holder NOT IN (tokens.launchpad, tokens.pair)
ORDER BY balances.balance DESC, balances.holder
LIMIT $3 OFFSET $4

-- name: trades
-- Everybody's, newest first. `before` is a keyset: it costs the same on every page.
SELECT
    tx_hash, position, block_number, tx_index, log_index, token_address, user_address, type,
    eth_amount, token_amount, price_e18, gas_fee, status, reason, block_time AS time
FROM transactions
WHERE chain_id = $1 AND type IN ('BUY', 'SELL') AND block_number IS NOT NULL
    AND (block_number, tx_index, log_index) < ($2::bigint, $3::integer, $4::integer)
ORDER BY block_number DESC, tx_index DESC, log_index DESC
LIMIT $5

-- name: traders
SELECT trader, realised_wei, volume_wei, tokens
FROM trader_stats
WHERE chain_id = $1
ORDER BY realised_wei DESC, trader DESC
LIMIT $2 OFFSET $3

-- name: count_traders
-- In the order of an index, so that it alone is read.
SELECT count(*) FROM (
    SELECT FROM trader_stats WHERE chain_id = $1 ORDER BY realised_wei, trader LIMIT $2
) AS counted

-- name: stats
SELECT value FROM platform_stats WHERE chain_id = $1 AND name = $2
