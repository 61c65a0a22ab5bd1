-- A long history for reads, made inside Postgres: {tokens} tokens, {trades} trades of {wallets}
-- wallets over 30 days that end at {now}, a block a second. A few tokens have most of the trades.
-- Foreign keys are not checked and indexes are made afterwards (`history.py`).

-- name: people
INSERT INTO users (wallet_address)
SELECT decode(substr(md5('w' || n) || md5('v' || n), 1, 40), 'hex')
FROM generate_series(0, {wallets} - 1) AS n

-- name: tokens
INSERT INTO tokens
SELECT
    {chain}, 1, decode(substr(md5('t' || n) || md5('u' || n), 1, 40), 'hex'), n % 1024,
    decode(repeat('11', 20), 'hex'),
    decode(substr(md5('w' || n % 5000) || md5('v' || n % 5000), 1, 40), 'hex'),
    decode(substr(md5('p' || n) || md5('q' || n), 1, 40), 'hex'),
    'Coin ' || md5(n::text), 'C' || n, 'coin ' || md5(n::text), 'c' || n,
    decode(md5('m' || n) || md5('n' || n), 'hex'), 'visible',
    decode(md5('x' || n) || md5('y' || n), 'hex'),
    n * 2592000::bigint / {tokens}, n % 7, 0, {now} - 2592000 + n * 2592000::bigint / {tokens},
    0, 0, 1500000000000000000, 1073000000000000000000000000, 793100000000000000000000000,
    206900000000000000000000000, 100, 50, 2000, 30, 0, 0
FROM generate_series(0, {tokens} - 1) AS n

-- name: numbered
CREATE TEMPORARY TABLE numbered AS
SELECT n, decode(substr(md5('t' || n) || md5('u' || n), 1, 40), 'hex') AS token,
    decode(substr(md5('w' || n) || md5('v' || n), 1, 40), 'hex') AS wallet
FROM generate_series(0, greatest({tokens}, {wallets}) - 1) AS n

-- name: trades
INSERT INTO transactions (
    chain_id, tx_hash, position, version, block_number, tx_index, log_index, block_time,
    token_address, user_address, recipient, type, eth_amount, token_amount, price_e18,
    protocol_fee, creator_fee, gas_fee, held_before, cost_before, status
)
SELECT
    {chain}, decode(md5('a' || drawn.n) || md5('b' || drawn.n), 'hex'), 0, 1,
    drawn.n * 2592000::bigint / {trades}, drawn.n % 40, 2 * (drawn.n % 40),
    {now} - 2592000 + drawn.n * 2592000::bigint / {trades},
    tokens.token, wallets.wallet, wallets.wallet,
    CASE WHEN drawn.n % 10 < 7 THEN 'BUY' ELSE 'SELL' END,
    1000000000000000 + drawn.n % 1000, 1000000000000000000000 + drawn.n % 77,
    1000000000000000000000000 + drawn.token * 1000000000::bigint + drawn.n % 1000000,
    10000000000000, 5000000000000, 90000000000000, 3000000000000000000000 + drawn.n % 177,
    3000000000000000 + drawn.n % 3000, 'CONFIRMED'
FROM (
    SELECT
        n, floor({tokens} * power(random(), 3))::integer AS token,
        floor({wallets} * power(random(), 1.5))::integer AS wallet
    FROM generate_series(0::bigint, {trades} - 1) AS n
) AS drawn
JOIN numbered AS tokens ON tokens.n = drawn.token
JOIN numbered AS wallets ON wallets.n = drawn.wallet

-- name: balances
INSERT INTO balances (
    chain_id, version, token_address, holder, balance, bought_tokens, sold_tokens, spent_wei,
    received_wei, held_tokens, cost_wei, changed_block, first_buy
)
SELECT
    {chain}, 1, token_address, user_address, greatest(bought - sold, 0), bought, sold, spent,
    received, greatest(bought - sold, 0),
    CASE WHEN bought > sold THEN div(spent * (bought - sold), bought) ELSE 0 END, newest,
    first_buy
FROM (
    SELECT
        token_address, user_address, max(block_number) AS newest,
        min(block_time) FILTER (WHERE type = 'BUY') AS first_buy,
        coalesce(sum(token_amount::numeric) FILTER (WHERE type = 'BUY'), 0) AS bought,
        coalesce(div(sum(token_amount::numeric) FILTER (WHERE type = 'SELL'), 10), 0) AS sold,
        coalesce(sum(eth_amount::numeric) FILTER (WHERE type = 'BUY'), 0) AS spent,
        coalesce(sum(eth_amount::numeric) FILTER (WHERE type = 'SELL'), 0) AS received
    FROM transactions
    GROUP BY token_address, user_address
) AS traded

-- name: candles
INSERT INTO price_history (
    chain_id, version, token_address, time, open, high, low, close, volume_eth, volume_token,
    trades
)
SELECT
    {chain}, 1, token_address, block_time - block_time % 60, min(price_e18), max(price_e18),
    min(price_e18), max(price_e18), sum(eth_amount), sum(token_amount), count(*)
FROM transactions
GROUP BY token_address, block_time - block_time % 60

-- name: markets
INSERT INTO markets (
    chain_id, version, token_address, phase, sold, raised, price_e18, market_cap_wei,
    graduated_at, trades, holders
)
SELECT
    {chain}, 1, tokens.token_address,
    CASE WHEN tokens.bucket % 100 = 0 THEN 'graduated' ELSE 'curve' END,
    1000000000000000000000, 1000000000000000, coalesce(price, 1000000000000000000000000),
    coalesce(price, 1000000000000000000000000) / 1000000000,
    CASE WHEN tokens.bucket % 100 = 0 THEN {now} - 86400 END,
    coalesce(traded.trades, 0), coalesce(held.holders, 0)
FROM tokens
LEFT JOIN (
    SELECT token_address, count(*) AS trades, max(price_e18) AS price
    FROM transactions GROUP BY token_address
) AS traded USING (token_address)
LEFT JOIN (
    SELECT token_address, count(*) FILTER (WHERE balance > 0) AS holders
    FROM balances GROUP BY token_address
) AS held USING (token_address)

-- name: figures
INSERT INTO token_stats (
    chain_id, version, token_address, final_volume_day, final_trades_day, final_volume_ever,
    volume_24h, trades_24h, volume_1h, volume_ever, changing
)
SELECT
    {chain}, 1, tokens.token_address, coalesce(day, 0), coalesce(traded, 0), coalesce(ever, 0),
    coalesce(day, 0), coalesce(traded, 0), coalesce(hour, 0), coalesce(ever, 0),
    coalesce(hour, 0) > 0
FROM tokens
LEFT JOIN (
    SELECT
        token_address, sum(volume_eth) AS ever,
        sum(volume_eth) FILTER (WHERE time > {now} - 86400) AS day,
        sum(trades) FILTER (WHERE time > {now} - 86400) AS traded,
        sum(volume_eth) FILTER (WHERE time > {now} - 3600) AS hour
    FROM price_history GROUP BY token_address
) AS summed USING (token_address)

-- name: traders
INSERT INTO trader_stats (chain_id, trader, realised_wei, volume_wei, tokens, block_number)
SELECT
    {chain}, holder, sum(received_wei::numeric - spent_wei::numeric + cost_wei::numeric),
    sum(spent_wei::numeric + received_wei::numeric), count(*), -1
FROM balances
GROUP BY holder

-- name: windows
INSERT INTO analytics_windows (chain_id, since, until, block_number)
VALUES ({chain}, {now} - {now} % 60 - 86340, {now} - {now} % 60, 2592000)

-- name: cursor
INSERT INTO cursors (chain_id, name, block_number, block_hash, block_time, finalised_number)
VALUES (
    {chain}, 'recorder', 2592000, decode(repeat('ab', 32), 'hex'), {now}, 2591990
)

-- name: blocks
INSERT INTO blocks (chain_id, number, hash, parent_hash, block_time)
SELECT
    {chain}, number, decode(md5(number::text) || md5(number::text), 'hex'),
    decode(md5((number - 1)::text) || md5((number - 1)::text), 'hex'), {now} - 2592000 + number
FROM generate_series(2592000 - 2000, 2592000 - 1) AS number
UNION ALL
SELECT
    {chain}, 2592000, decode(repeat('ab', 32), 'hex'),
    decode(md5('2591999') || md5('2591999'), 'hex'), {now}
