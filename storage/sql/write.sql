-- The statements of one write of the recorder, in the order of `storage/write.py`. $1 is the
-- chain, the others are columns, as the text of an array (`storage/copying.py`). Identity keys
-- make each a no-op the second time; what is derived (counts, balances, positions) is derived
-- from rows that are really inserted.
--
-- Rows are found by their key, and `OFFSET 0` hides from the planner that all are of one chain:
-- before the first ANALYZE, and in plans kept from when tables were small, it would rather walk
-- through all that the chain has, once a row.

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
FROM unnest($2::text::bigint[], $3::text::bytea[], $4::text::bytea[], $5::text::bigint[]) AS input
ON CONFLICT (chain_id, number) DO UPDATE SET block_time = EXCLUDED.block_time
    WHERE known.hash = EXCLUDED.hash

-- name: prune_blocks
DELETE FROM blocks WHERE chain_id = $1 AND number < $2

-- name: users
INSERT INTO users (wallet_address)
SELECT unnest($1::text::bytea[])
ON CONFLICT (wallet_address) DO NOTHING

-- name: tokens
WITH input AS (
    SELECT *
    FROM unnest(
        $2::text::integer[], $3::text::bytea[], $4::text::smallint[], $5::text::bytea[],
        $6::text::bytea[], $7::text::bytea[], $8::text::text[], $9::text::text[], $10::text::text[],
        $11::text::text[], $12::text::bytea[], $13::text::bytea[], $14::text::bigint[],
        $15::text::integer[], $16::text::integer[], $17::text::bigint[], $18::text::bigint[],
        $19::text::smallint[], $20::text::numeric[], $21::text::numeric[], $22::text::numeric[],
        $23::text::numeric[], $24::text::integer[], $25::text::integer[], $26::text::integer[],
        $27::text::integer[], $28::text::integer[], $29::text::integer[], $30::text::numeric[],
        $31::text::numeric[]
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
WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND type IN ('BUY', 'SELL')
UNION ALL
SELECT 'transactions', tx_hash, position FROM transactions
WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND type NOT IN ('BUY', 'SELL')
UNION ALL
SELECT 'transfers', tx_hash, position FROM transfers
WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3

-- name: launched
SELECT version, bucket, launchpad, pair, token_address FROM tokens
WHERE chain_id = $1 AND token_address = ANY ($2::bytea[])

-- name: held
-- From the place on and one row only: so no other way leads there than the key.
SELECT held.version, held.token_address, held.holder, held.balance, held.held_tokens, held.cost_wei
FROM unnest($2::text::integer[], $3::text::bytea[], $4::text::bytea[])
    AS input (version, token, holder)
CROSS JOIN LATERAL (
    SELECT chain_id, version, token_address, holder, balance, held_tokens, cost_wei FROM balances
    WHERE (chain_id, version, token_address, holder)
        >= ($1::bigint, input.version, input.token, input.holder)
    ORDER BY chain_id, version, token_address, holder
    LIMIT 1
) AS held
WHERE held.chain_id = $1 AND held.version = input.version
    AND held.token_address = input.token AND held.holder = input.holder

-- name: replace_pending
-- The mined rows stand since the statement before; the first takes over the wait for the
-- receipt unless its gas is known already, and keeps the waiting row for the case that its
-- block is taken back.
WITH firsts AS (
    SELECT mined.tx_hash, min(mined.position) AS position, max(mined.gas_fee::numeric) AS gas_fee
    FROM transactions AS mined
    WHERE mined.chain_id = $1 AND mined.position >= 0 AND mined.tx_hash = ANY ($2::text::bytea[])
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
    received_wei, held_tokens, cost_wei, changed_block, first_buy
)
SELECT $1, input.*
FROM unnest(
    $2::text::integer[], $3::text::bytea[], $4::text::bytea[], $5::text::numeric[],
    $6::text::numeric[], $7::text::numeric[], $8::text::numeric[], $9::text::numeric[],
    $10::text::numeric[], $11::text::numeric[], $12::text::bigint[], $13::text::bigint[]
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
    first_buy = coalesce(old.first_buy, EXCLUDED.first_buy),
    updated_at = now()

-- name: candles
INSERT INTO price_history AS kept (
    chain_id, version, token_address, time, open, high, low, close,
    volume_eth, volume_token, trades
)
SELECT $1, input.*
FROM unnest(
    $2::text::integer[], $3::text::bytea[], $4::text::bigint[], $5::text::numeric[],
    $6::text::numeric[], $7::text::numeric[], $8::text::numeric[], $9::text::numeric[],
    $10::text::numeric[], $11::text::integer[]
) AS input
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
FROM (
    SELECT $1::bigint AS chain_id, input.*
    FROM unnest(
        $2::text::integer[], $3::text::bytea[], $4::text::text[], $5::text::numeric[],
        $6::text::numeric[], $7::text::bigint[], $8::text::numeric[], $9::text::numeric[],
        $10::text::numeric[], $11::text::numeric[], $12::text::bigint[], $13::text::bigint[],
        $14::text::bigint[]
    ) AS input (
        version, token, phase, sold, raised, seq, price_e18, market_cap_wei, reserve_token,
        reserve_weth, graduated_at, trades, holders
    )
    OFFSET 0
) AS input
WHERE markets.chain_id = input.chain_id AND markets.version = input.version
    AND markets.token_address = input.token

-- name: holders
UPDATE markets
SET holders = markets.holders + input.holders
FROM (
    SELECT $1::bigint AS chain_id, input.*
    FROM unnest($2::text::integer[], $3::text::bytea[], $4::text::bigint[])
        AS input (version, token, holders)
    OFFSET 0
) AS input
WHERE markets.chain_id = input.chain_id AND markets.version = input.version
    AND markets.token_address = input.token
