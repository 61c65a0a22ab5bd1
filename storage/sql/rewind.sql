-- The statements of one rewind, in the order of `storage/rewind.py`. $1 is the chain, $2 the
-- ancestor's number: everything above it is taken back. What is derived (counts, balances) is
-- derived from rows that were really deleted.

-- name: stored_block
SELECT hash, block_time FROM blocks WHERE chain_id = $1 AND number = $2

-- name: touched
-- Tokens with events above, and the time of the first of them.
SELECT token_address, min(block_time) AS block_time
FROM events
WHERE chain_id = $1 AND block_number > $2 AND bucket IS NOT NULL
GROUP BY token_address

-- name: transfers
-- A holder's row may be gone since an earlier rewind, all of it zero: then it comes back.
-- Returns the holders that have nothing left and never traded.
WITH undone AS (
    DELETE FROM transfers
    WHERE chain_id = $1 AND block_number > $2
    RETURNING version, token_address, sender, recipient, amount
),
changes AS (
    SELECT version, token_address, holder, sum(change) AS change
    FROM (
        SELECT version, token_address, sender AS holder, amount::numeric AS change FROM undone
        UNION ALL
        SELECT version, token_address, recipient, -(amount::numeric) FROM undone
    ) AS sides
    WHERE holder <> decode(repeat('00', 20), 'hex')
    GROUP BY version, token_address, holder
),
moved AS (
    SELECT changes.*, coalesce(held.balance, 0)::numeric AS balance
    FROM changes
    LEFT JOIN balances AS held
        ON held.chain_id = $1 AND held.version = changes.version
        AND held.token_address = changes.token_address AND held.holder = changes.holder
),
stored AS (
    INSERT INTO balances AS old (chain_id, version, token_address, holder, balance)
    SELECT $1, version, token_address, holder, balance + change FROM moved
    ON CONFLICT (chain_id, version, token_address, holder) DO UPDATE SET
        balance = EXCLUDED.balance, changed_block = -1,
        updated_at = now()
),
counted AS (
    SELECT
        moved.version, moved.token_address,
        count(*) FILTER (WHERE balance = 0 AND change > 0) AS joined,
        count(*) FILTER (WHERE balance > 0 AND balance + change = 0) AS gone
    FROM moved
    JOIN tokens
        ON tokens.chain_id = $1 AND tokens.version = moved.version
        AND tokens.token_address = moved.token_address
    WHERE moved.holder NOT IN (tokens.launchpad, tokens.pair)
    GROUP BY moved.version, moved.token_address
),
changed AS (
    UPDATE markets
    SET holders = markets.holders + counted.joined - counted.gone
    FROM counted
    WHERE markets.chain_id = $1 AND markets.version = counted.version
        AND markets.token_address = counted.token_address AND counted.joined <> counted.gone
)
SELECT version, token_address, holder FROM moved WHERE balance + change = 0

-- name: transactions
-- What was submitted here waits again, as it did before its block. The basis is again what the
-- first trade that goes had before it.
WITH trades AS (
    DELETE FROM transactions
    WHERE chain_id = $1 AND block_number > $2 AND type IN ('BUY', 'SELL')
    RETURNING *
),
others AS (
    DELETE FROM transactions
    WHERE chain_id = $1 AND block_number > $2 AND type NOT IN ('BUY', 'SELL')
    RETURNING *
),
undone AS (
    SELECT * FROM trades
    UNION ALL
    SELECT * FROM others
),
waiting AS (
    INSERT INTO transactions (
        chain_id, tx_hash, position, user_address, token_address, recipient, type, eth_amount,
        token_amount, status, receipt_due, created_at
    )
    SELECT
        was.chain_id, was.tx_hash, was.position, was.user_address, was.token_address,
        was.recipient, was.type, was.eth_amount, was.token_amount, 'PENDING', TRUE,
        was.created_at
    FROM undone
    CROSS JOIN LATERAL jsonb_populate_record(NULL::transactions, undone.submission) AS was
    WHERE undone.submission IS NOT NULL
    ON CONFLICT (chain_id, tx_hash, position) DO NOTHING
),
traded AS (
    SELECT
        version, token_address, user_address,
        count(*) AS trades,
        coalesce(sum(token_amount) FILTER (WHERE type = 'BUY'), 0) AS bought_tokens,
        coalesce(sum(token_amount) FILTER (WHERE type = 'SELL'), 0) AS sold_tokens,
        coalesce(sum(eth_amount) FILTER (WHERE type = 'BUY'), 0) AS spent_wei,
        coalesce(sum(eth_amount) FILTER (WHERE type = 'SELL'), 0) AS received_wei,
        (array_agg(held_before ORDER BY block_number, tx_index, log_index))[1] AS held_tokens,
        (array_agg(cost_before ORDER BY block_number, tx_index, log_index))[1] AS cost_wei
    FROM undone
    WHERE type IN ('BUY', 'SELL')
    GROUP BY version, token_address, user_address
),
changed AS (
    UPDATE markets
    SET trades = markets.trades - less.trades
    FROM (
        SELECT version, token_address, sum(trades) AS trades FROM traded GROUP BY 1, 2
    ) AS less
    WHERE markets.chain_id = $1 AND markets.version = less.version
        AND markets.token_address = less.token_address
)
UPDATE balances AS held
SET
    bought_tokens = held.bought_tokens - traded.bought_tokens,
    sold_tokens = held.sold_tokens - traded.sold_tokens,
    spent_wei = held.spent_wei - traded.spent_wei,
    received_wei = held.received_wei - traded.received_wei,
    held_tokens = traded.held_tokens,
    cost_wei = traded.cost_wei,
    first_buy = CASE WHEN held.bought_tokens > traded.bought_tokens THEN held.first_buy END,
    changed_block = -1,
    updated_at = now()
FROM traded
WHERE held.chain_id = $1 AND held.version = traded.version
    AND held.token_address = traded.token_address AND held.holder = traded.user_address
RETURNING held.version, held.token_address, held.holder

-- name: receipts
-- Settled by a receipt, but without rows of a block: which block that was is not kept, so all
-- that were settled since the ancestor's time are read again. A minute for clocks that differ.
UPDATE transactions
SET status = 'PENDING', reason = NULL, gas_fee = NULL, receipt_due = TRUE, updated_at = now()
WHERE chain_id = $1 AND position = -1 AND gas_fee IS NOT NULL
    AND updated_at >= to_timestamp($2::bigint - 60)

-- name: empty_balances
-- A row of nothing but zeros says no more than no row, but would be listed as a holding.
DELETE FROM balances AS held
USING unnest($2::integer[], $3::bytea[], $4::bytea[]) AS input (version, token, holder)
WHERE held.chain_id = $1 AND held.version = input.version
    AND held.token_address = input.token AND held.holder = input.holder
    AND held.balance = 0 AND held.bought_tokens = 0 AND held.sold_tokens = 0
    AND held.spent_wei = 0 AND held.received_wei = 0

-- name: events_of_tokens
DELETE FROM events WHERE chain_id = $1 AND block_number > $2 AND bucket IS NOT NULL

-- name: other_events
DELETE FROM events WHERE chain_id = $1 AND block_number > $2 AND bucket IS NULL

-- name: outbox
-- Nothing above a finalised block is visible yet.
DELETE FROM outbox WHERE chain_id = $1 AND block_number > $2 AND visible_at IS NULL

-- name: snapshots
DELETE FROM snapshots WHERE chain_id = $1 AND block_number > $2

-- name: blocks
DELETE FROM blocks WHERE chain_id = $1 AND number > $2

-- name: candles_of_tokens
DELETE FROM price_history AS candle
USING tokens AS young
WHERE young.chain_id = $1 AND young.block_number > $2
    AND candle.chain_id = $1 AND candle.version = young.version
    AND candle.token_address = young.token_address

-- name: balances_of_tokens
DELETE FROM balances AS held
USING tokens AS young
WHERE young.chain_id = $1 AND young.block_number > $2
    AND held.chain_id = $1 AND held.version = young.version
    AND held.token_address = young.token_address

-- name: orders_of_tokens
DELETE FROM orders
USING tokens AS young
WHERE young.chain_id = $1 AND young.block_number > $2
    AND orders.chain_id = $1 AND orders.version = young.version
    AND orders.token_address = young.token_address

-- name: markets_of_tokens
DELETE FROM markets
USING tokens AS young
WHERE young.chain_id = $1 AND young.block_number > $2
    AND markets.chain_id = $1 AND markets.version = young.version
    AND markets.token_address = young.token_address

-- name: tokens
DELETE FROM tokens WHERE chain_id = $1 AND block_number > $2

-- name: later_candles
DELETE FROM price_history WHERE chain_id = $1 AND time > $2

-- name: partial_candles
DELETE FROM price_history
WHERE chain_id = $1 AND time = $2 AND token_address = ANY ($3::bytea[])

-- name: last_of_each_kind
-- The events that a market's state follows from: the last of each kind before $4.
SELECT found.*
FROM unnest($2::bytea[]) AS wanted (token_address)
CROSS JOIN unnest($3::text[]) AS kinds (kind)
CROSS JOIN LATERAL (
    SELECT
        events.kind, tx_hash, position, version, block_number, block_hash, block_time,
        tx_index, log_index, emitter, payload
    FROM events
    WHERE chain_id = $1 AND events.token_address = wanted.token_address
        AND events.kind = kinds.kind AND block_time < $4
    ORDER BY block_time DESC, block_number DESC, tx_index DESC, log_index DESC
    LIMIT 1
) AS found
ORDER BY block_number, tx_index, log_index

-- name: events_since
SELECT
    kind, tx_hash, position, version, block_number, block_hash, block_time, tx_index,
    log_index, emitter, payload
FROM events
WHERE chain_id = $1 AND token_address = ANY ($2::bytea[]) AND kind = ANY ($3::text[])
    AND block_time >= $4
ORDER BY block_number, tx_index, log_index

-- name: move_cursor
-- What was remembered of rows before is void.
UPDATE cursors
SET
    block_number = $3, block_hash = $4::bytea, block_time = $5, revision = gen_random_uuid(),
    updated_at = now()
WHERE chain_id = $1 AND name = $2
