-- `{filter}` and `{order}` are put in from the fixed tables of `storage/reads.py`; values are
-- always arguments, the filter's is $4. `volume_24h` is the analytics role's, of its last turn.

-- name: list_tokens
SELECT
    tokens.*, markets.phase, markets.sold, markets.raised, markets.price_e18,
    markets.market_cap_wei, markets.trades, markets.holders,
    extract(epoch FROM markets.updated_at)::bigint AS updated_time,
    coalesce(token_stats.volume_24h, 0) AS volume_24h
FROM tokens
JOIN markets USING (chain_id, version, token_address)
LEFT JOIN token_stats USING (chain_id, version, token_address)
WHERE tokens.chain_id = $1 AND tokens.visibility = 'visible' {filter}
ORDER BY {order}
LIMIT $2 OFFSET $3

-- name: count_tokens
-- Takes limit and offset like the lists, so that one filter fits all. In the order of an index,
-- so that without a filter the index alone is read.
SELECT count(*) FROM (
    SELECT FROM tokens
    WHERE tokens.chain_id = $1 AND tokens.visibility = 'visible' {filter}
    ORDER BY tokens.block_number, tokens.tx_index, tokens.log_index
    LIMIT $2 OFFSET $3
) AS counted

-- name: count_of_phase
-- Hidden ones are few: they are looked up once, not each market's token.
SELECT count(*) FROM (
    SELECT FROM markets
    WHERE markets.chain_id = $1 {filter} AND markets.token_address NOT IN (
        SELECT token_address FROM tokens WHERE chain_id = $1 AND visibility = 'hidden'
    )
    LIMIT $2 OFFSET $3
) AS counted

-- name: count_found_of_phase
SELECT count(*) FROM (
    SELECT FROM tokens
    JOIN markets USING (chain_id, version, token_address)
    WHERE tokens.chain_id = $1 AND tokens.visibility = 'visible' {filter}
    LIMIT $2 OFFSET $3
) AS counted

-- name: token
SELECT
    tokens.*, markets.phase, markets.sold, markets.raised, markets.price_e18,
    markets.market_cap_wei, markets.trades, markets.holders,
    extract(epoch FROM markets.updated_at)::bigint AS updated_time,
    coalesce(token_stats.volume_24h, 0) AS volume_24h
FROM tokens
JOIN markets USING (chain_id, version, token_address)
LEFT JOIN token_stats USING (chain_id, version, token_address)
WHERE tokens.chain_id = $1 AND tokens.token_address = $2 AND tokens.visibility = 'visible'

-- name: token_transactions
-- Newest first, mined ones only. `before` is a keyset: it costs the same on every page.
SELECT
    tx_hash, position, block_number, tx_index, log_index, token_address, user_address, type,
    eth_amount, token_amount, price_e18, gas_fee, status, reason, block_time AS time
FROM transactions
WHERE chain_id = $1 AND token_address = $2 AND position >= 0
    AND (block_number, tx_index, log_index) < ($3::bigint, $4::integer, $5::integer)
ORDER BY block_number DESC, tx_index DESC, log_index DESC
LIMIT $6 OFFSET $7

-- name: count_token_transactions
SELECT count(*) FROM (
    SELECT FROM transactions
    WHERE chain_id = $1 AND token_address = $2 AND position >= 0
    LIMIT $3
) AS counted

-- name: transaction
-- A row that waits is shown only while no mined one is there.
SELECT
    tx_hash, position, block_number, tx_index, log_index, token_address, user_address, type,
    eth_amount, token_amount, price_e18, gas_fee, status, reason,
    coalesce(block_time, extract(epoch FROM created_at)::bigint) AS time
FROM transactions
WHERE chain_id = $1 AND tx_hash = $2
    AND (
        position >= 0 OR NOT EXISTS (
            SELECT FROM transactions AS mined
            WHERE mined.chain_id = $1 AND mined.tx_hash = $2 AND mined.position >= 0
        )
    )
ORDER BY position

-- name: candles
-- Newest first. Always a row, with what history stood at: one statement sees one instant.
SELECT place.block_time AS recorded_time, place.revision, before.close AS close_before, candle.*
FROM (VALUES (1)) AS always
LEFT JOIN cursors AS place ON place.chain_id = $1 AND place.name = 'recorder'
LEFT JOIN LATERAL (
    SELECT close FROM price_history
    WHERE chain_id = $1 AND token_address = $2 AND time < $3
        AND version = (SELECT version FROM tokens WHERE chain_id = $1 AND token_address = $2)
    ORDER BY time DESC
    LIMIT 1
) AS before ON TRUE
LEFT JOIN LATERAL (
    SELECT
        time - time % $5::bigint AS time,
        (array_agg(open ORDER BY price_history.time))[1] AS open,
        max(high) AS high,
        min(low) AS low,
        (array_agg(close ORDER BY price_history.time DESC))[1] AS close,
        sum(volume_eth) AS volume_eth,
        sum(volume_token) AS volume_token,
        sum(trades) AS trades
    FROM price_history
    WHERE chain_id = $1 AND token_address = $2
        AND version = (SELECT version FROM tokens WHERE chain_id = $1 AND token_address = $2)
        AND price_history.time >= $3 AND price_history.time < $4
    GROUP BY 1
    ORDER BY 1 DESC
    LIMIT $6
) AS candle ON TRUE
ORDER BY candle.time DESC

-- name: wallet
-- What history stood at, and the newest block that changed a row of the wallet.
SELECT
    place.block_number, place.revision,
    (
        SELECT max(changed_block) FROM balances WHERE chain_id = $1 AND holder = $2
    ) AS changed_block
FROM (VALUES (1)) AS always
LEFT JOIN cursors AS place ON place.chain_id = $1 AND place.name = 'recorder'

-- name: holdings
-- By recorded value, highest first; a token that was sold out of comes last, for its profit or
-- loss. Always a row, with what history stood at and the profit of all the wallet's tokens.
SELECT
    place.block_number, place.revision,
    (
        SELECT max(changed_block) FROM balances WHERE chain_id = $1 AND holder = $2
    ) AS changed_block,
    (
        SELECT coalesce(sum(received_wei::numeric - spent_wei::numeric + cost_wei::numeric), 0)
        FROM balances WHERE chain_id = $1 AND holder = $2
    ) AS realised_wei,
    owned.*
FROM (VALUES (1)) AS always
LEFT JOIN cursors AS place ON place.chain_id = $1 AND place.name = 'recorder'
LEFT JOIN LATERAL (
    SELECT
        held.token_address, tokens.name, tokens.symbol, held.balance, held.bought_tokens,
        held.sold_tokens, held.spent_wei, held.received_wei, held.held_tokens, held.cost_wei,
        held.balance::numeric * markets.price_e18::numeric AS worth
    FROM balances AS held
    JOIN tokens USING (chain_id, version, token_address)
    JOIN markets USING (chain_id, version, token_address)
    WHERE held.chain_id = $1 AND held.holder = $2 AND tokens.visibility = 'visible'
        AND (held.balance > 0 OR $4)
    ORDER BY worth DESC, held.token_address
    LIMIT $3
) AS owned ON TRUE
ORDER BY owned.worth DESC, owned.token_address

-- name: add_user
INSERT INTO users (wallet_address) VALUES ($1::bytea) ON CONFLICT (wallet_address) DO NOTHING

-- name: add_pending
-- Not again when it was added before and is mined now.
INSERT INTO transactions (
    chain_id, tx_hash, position, user_address, token_address, type, eth_amount, token_amount,
    status, receipt_due
)
SELECT
    $1, $2::bytea, -1, $3::bytea, $4::bytea, $5, $6::numeric, $7::numeric, 'PENDING', TRUE
WHERE NOT EXISTS (
    SELECT FROM transactions WHERE chain_id = $1 AND tx_hash = $2 AND submitted
)
ON CONFLICT (chain_id, tx_hash, position) DO NOTHING

-- name: refuse_pending
UPDATE transactions
SET status = 'FAILED', reason = $3, receipt_due = FALSE, updated_at = now()
WHERE chain_id = $1 AND tx_hash = $2 AND position = -1 AND status = 'PENDING'

-- name: cursor
SELECT block_number, block_hash FROM cursors WHERE chain_id = $1 AND name = 'recorder'

-- name: count_trades
SELECT count(*) FROM transactions
WHERE chain_id = $1 AND type IN ('BUY', 'SELL') AND position >= 0
