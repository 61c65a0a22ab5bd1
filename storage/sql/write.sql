-- The statements of one write of the recorder, in the order of `storage/write.py`. $1 is the
-- chain, the others are columns. Identity keys make each a no-op the second time; what is
-- derived (counts, balances, positions) is derived from rows that are really inserted.

-- name: lock_cursor
-- The fence: nothing is written unless the incarnation is still the caller's.
SELECT block_number, block_hash, finalised_number
FROM cursors
WHERE chain_id = $1 AND name = $2 AND incarnation = $3
FOR UPDATE

-- name: move_cursor
UPDATE cursors
SET
    block_number = $3, block_hash = $4::bytea, block_time = greatest(block_time, $5),
    updated_at = now()
WHERE chain_id = $1 AND name = $2

-- name: blocks
-- Another hash of a known number changes nothing, and the row count says so.
INSERT INTO blocks AS known (chain_id, number, hash, parent_hash, block_time)
SELECT $1, input.*
FROM unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::bigint[]) AS input
ON CONFLICT (chain_id, number) DO UPDATE SET block_time = EXCLUDED.block_time
    WHERE known.hash = EXCLUDED.hash

-- name: prune_blocks
DELETE FROM blocks WHERE chain_id = $1 AND number < $2

-- name: users
INSERT INTO users (wallet_address)
SELECT unnest($1::bytea[])
ON CONFLICT (wallet_address) DO NOTHING

-- name: tokens
WITH input AS (
    SELECT *
    FROM unnest(
        $2::integer[], $3::bytea[], $4::smallint[], $5::bytea[], $6::bytea[], $7::bytea[],
        $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[],
        $13::bytea[], $14::bigint[], $15::integer[], $16::integer[], $17::bigint[],
        $18::bigint[], $19::smallint[], $20::numeric[], $21::numeric[], $22::numeric[],
        $23::numeric[],
        $24::integer[], $25::integer[], $26::integer[], $27::integer[], $28::integer[],
        $29::integer[],
        $30::numeric[], $31::numeric[]
    ) AS input (
        version, token_address, bucket, launchpad, creator, pair,
        name, symbol, name_key, symbol_key, metadata_hash,
        tx_hash, block_number, tx_index, log_index, block_time,
        curve_id, curve_family, curve_a, curve_b, curve_supply, pool_supply,
        protocol_bps, creator_bps, launch_bps, launch_blocks, pool_protocol_bps,
        pool_creator_bps, price_e18, market_cap_wei
    )
),
fresh AS (
    INSERT INTO tokens (
        chain_id, version, token_address, bucket, launchpad, creator, pair,
        name, symbol, name_key, symbol_key, metadata_hash,
        tx_hash, block_number, tx_index, log_index, block_time,
        curve_id, curve_family, curve_a, curve_b, curve_supply, pool_supply,
        protocol_bps, creator_bps, launch_bps, launch_blocks, pool_protocol_bps,
        pool_creator_bps
    )
    SELECT
        $1, version, token_address, bucket, launchpad, creator, pair,
        name, symbol, name_key, symbol_key, metadata_hash,
        tx_hash, block_number, tx_index, log_index, block_time,
        curve_id, curve_family, curve_a, curve_b, curve_supply, pool_supply,
        protocol_bps, creator_bps, launch_bps, launch_blocks, pool_protocol_bps,
        pool_creator_bps
    FROM input
    ON CONFLICT (chain_id, version, token_address) DO NOTHING
    RETURNING version, token_address
),
-- Of zeros, so that every token is in lists by volume from its launch on. One of a launch that
-- was taken back may be there still.
figures AS (
    INSERT INTO token_stats (chain_id, version, token_address)
    SELECT $1, version, token_address FROM fresh
    ON CONFLICT (chain_id, version, token_address) DO NOTHING
)
INSERT INTO markets (chain_id, version, token_address, price_e18, market_cap_wei)
SELECT $1, input.version, input.token_address, input.price_e18, input.market_cap_wei
FROM input
JOIN fresh
    ON fresh.version = input.version AND fresh.token_address::bytea = input.token_address

-- name: recorded
-- Rows of blocks from $2 to $3 that are there already: none, unless the cursor was lost.
SELECT 'events' AS found_in, tx_hash, position FROM events
WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND bucket IS NOT NULL
UNION ALL
SELECT 'events', tx_hash, position FROM events
WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND bucket IS NULL
UNION ALL
SELECT 'transactions', tx_hash, position FROM transactions
WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3
UNION ALL
SELECT 'transfers', tx_hash, position FROM transfers
WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3

-- name: launched
SELECT version, bucket, launchpad, pair, token_address FROM tokens
WHERE chain_id = $1 AND token_address = ANY ($2::bytea[])

-- name: held
SELECT held.version, held.token_address, held.holder, held.balance, held.held_tokens, held.cost_wei
FROM unnest($2::integer[], $3::bytea[], $4::bytea[]) AS input (version, token, holder)
JOIN balances AS held
    ON held.chain_id = $1 AND held.version = input.version
    AND held.token_address = input.token AND held.holder = input.holder

-- name: replace_pending
-- The mined rows stand since the statement before; the first takes over the wait for the
-- receipt unless its gas is known already, and keeps the waiting row for the case that its
-- block is taken back.
WITH firsts AS (
    SELECT mined.tx_hash, min(mined.position) AS position, max(mined.gas_fee::numeric) AS gas_fee
    FROM transactions AS mined
    WHERE mined.chain_id = $1 AND mined.position >= 0 AND mined.tx_hash = ANY ($2::bytea[])
    GROUP BY mined.tx_hash
),
replaced AS (
    DELETE FROM transactions AS waiting
    USING firsts
    WHERE waiting.chain_id = $1 AND waiting.position = -1 AND waiting.tx_hash = firsts.tx_hash
    RETURNING
        waiting.tx_hash, firsts.position,
        coalesce(firsts.gas_fee, waiting.gas_fee::numeric) AS gas_fee,
        to_jsonb(waiting) AS submission
)
UPDATE transactions
SET
    gas_fee = replaced.gas_fee,
    receipt_due = replaced.gas_fee IS NULL AND transactions.position = replaced.position,
    submission = CASE
        WHEN transactions.position = replaced.position THEN replaced.submission
    END,
    updated_at = now()
FROM replaced
WHERE transactions.chain_id = $1 AND transactions.tx_hash = replaced.tx_hash
    AND transactions.position >= 0

-- name: balances
-- By one writer at a time (the cursor's lock), so what was read of them before still stands.
INSERT INTO balances AS old (
    chain_id, version, token_address, holder, balance, bought_tokens, sold_tokens, spent_wei,
    received_wei, held_tokens, cost_wei, changed_block
)
SELECT $1, input.*
FROM unnest(
    $2::integer[], $3::bytea[], $4::bytea[], $5::numeric[], $6::numeric[], $7::numeric[],
    $8::numeric[], $9::numeric[], $10::numeric[], $11::numeric[], $12::bigint[]
) AS input
ON CONFLICT (chain_id, version, token_address, holder) DO UPDATE SET
    balance = EXCLUDED.balance,
    bought_tokens = old.bought_tokens + EXCLUDED.bought_tokens,
    sold_tokens = old.sold_tokens + EXCLUDED.sold_tokens,
    spent_wei = old.spent_wei + EXCLUDED.spent_wei,
    received_wei = old.received_wei + EXCLUDED.received_wei,
    held_tokens = EXCLUDED.held_tokens,
    cost_wei = EXCLUDED.cost_wei,
    changed_block = greatest(old.changed_block, EXCLUDED.changed_block),
    updated_at = now()

-- name: candles
INSERT INTO price_history AS kept (
    chain_id, version, token_address, time, open, high, low, close,
    volume_eth, volume_token, trades
)
SELECT
    $1, tokens.version, input.token, input.time, input.open, input.high, input.low,
    input.close, input.volume_eth, input.volume_token, input.trades
FROM unnest(
    $2::bytea[], $3::bigint[], $4::numeric[], $5::numeric[], $6::numeric[], $7::numeric[],
    $8::numeric[], $9::numeric[], $10::integer[]
) AS input (token, time, open, high, low, close, volume_eth, volume_token, trades)
JOIN tokens ON tokens.chain_id = $1 AND tokens.token_address = input.token
ON CONFLICT (chain_id, version, token_address, time) DO UPDATE SET
    high = greatest(kept.high, EXCLUDED.high),
    low = least(kept.low, EXCLUDED.low),
    close = EXCLUDED.close,
    volume_eth = kept.volume_eth + EXCLUDED.volume_eth,
    volume_token = kept.volume_token + EXCLUDED.volume_token,
    trades = kept.trades + EXCLUDED.trades,
    updated_at = now()

-- name: markets
UPDATE markets
SET
    phase = input.phase, sold = input.sold, raised = input.raised, seq = input.seq,
    price_e18 = input.price_e18, market_cap_wei = input.market_cap_wei,
    reserve_token = input.reserve_token, reserve_weth = input.reserve_weth,
    graduated_at = CASE
        WHEN input.phase = 'graduated' THEN coalesce(markets.graduated_at, input.graduated_at)
    END,
    trades = markets.trades + input.trades, holders = markets.holders + input.holders,
    updated_at = now()
FROM unnest(
    $2::bytea[], $3::text[], $4::numeric[], $5::numeric[], $6::bigint[], $7::numeric[],
    $8::numeric[], $9::numeric[], $10::numeric[], $11::bigint[], $12::bigint[], $13::bigint[]
) AS input (
    token, phase, sold, raised, seq, price_e18, market_cap_wei, reserve_token, reserve_weth,
    graduated_at, trades, holders
)
JOIN tokens ON tokens.chain_id = $1 AND tokens.token_address = input.token
WHERE markets.chain_id = $1 AND markets.version = tokens.version
    AND markets.token_address = tokens.token_address

-- name: holders
UPDATE markets
SET holders = markets.holders + input.holders
FROM unnest($2::bytea[], $3::bigint[]) AS input (token, holders)
JOIN tokens ON tokens.chain_id = $1 AND tokens.token_address = input.token
WHERE markets.chain_id = $1 AND markets.version = tokens.version
    AND markets.token_address = tokens.token_address

-- name: outbox
-- A block may be final before it is recorded; its work is visible at once.
INSERT INTO outbox (
    chain_id, key, topic, token_address, block_number, payload, version, visible_at
)
SELECT
    $1, input.*, tokens.version,
    CASE WHEN input.block_number <= cursors.finalised_number THEN now() END
FROM unnest($3::text[], $4::text[], $5::bytea[], $6::bigint[], $7::text[]::jsonb[])
    AS input (key, topic, token, block_number, payload)
JOIN cursors ON cursors.chain_id = $1 AND cursors.name = $2
LEFT JOIN tokens ON tokens.chain_id = $1 AND tokens.token_address = input.token
ON CONFLICT (chain_id, key) DO NOTHING
