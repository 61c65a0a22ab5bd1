-- Rolling figures, kept by the analytics role from what is recorded. All of it can be made anew.

-- A token's figures. What is of whole minutes that are final is counted once (`final_…`); what
-- may still change is added anew each time.
CREATE TABLE token_stats (
    chain_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    token_address address NOT NULL,
    final_volume_day NUMERIC(78, 0) NOT NULL DEFAULT 0,
    final_trades_day BIGINT NOT NULL DEFAULT 0,
    final_volume_ever NUMERIC(78, 0) NOT NULL DEFAULT 0,
    volume_24h NUMERIC(78, 0) NOT NULL DEFAULT 0,
    trades_24h BIGINT NOT NULL DEFAULT 0,
    volume_1h NUMERIC(78, 0) NOT NULL DEFAULT 0,
    volume_ever NUMERIC(78, 0) NOT NULL DEFAULT 0,
    -- The close a day ago; none for a token that did not trade by then.
    price_before NUMERIC(78, 0),
    changing BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (chain_id, version, token_address)
) WITH (fillfactor = 50);

INSERT INTO token_stats (chain_id, version, token_address)
SELECT chain_id, version, token_address FROM tokens;

CREATE INDEX token_stats_volume ON token_stats (chain_id, volume_24h, token_address);
CREATE INDEX token_stats_trending ON token_stats (chain_id, volume_1h, token_address)
    WHERE volume_1h > 0;
CREATE INDEX token_stats_changing ON token_stats (chain_id) WHERE changing;

-- A wallet's trades over all tokens, profit by average cost. `block_number` is the newest block
-- that it was worked out for while that was not final.
CREATE TABLE trader_stats (
    chain_id BIGINT NOT NULL,
    trader address NOT NULL,
    realised_wei NUMERIC(78, 0) NOT NULL,
    volume_wei NUMERIC(78, 0) NOT NULL,
    tokens BIGINT NOT NULL,
    block_number BIGINT NOT NULL,
    PRIMARY KEY (chain_id, trader)
) WITH (fillfactor = 70);

CREATE INDEX trader_stats_realised ON trader_stats (chain_id, realised_wei, trader);
CREATE INDEX trader_stats_block ON trader_stats (chain_id, block_number);

-- Small documents that are worked out for everybody: the overview, the top creators.
CREATE TABLE platform_stats (
    chain_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    value JSONB NOT NULL,
    PRIMARY KEY (chain_id, name)
);

-- Where the windows stand: minutes in [since, until) are in `final_…`, blocks up to
-- `block_number` in `trader_stats`.
CREATE TABLE analytics_windows (
    chain_id BIGINT PRIMARY KEY,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    block_number BIGINT NOT NULL
);

-- The nearest to its graduation, and everybody's newest trades.
CREATE INDEX markets_on_curve ON markets (chain_id, market_cap_wei, token_address)
    WHERE phase = 'curve';
CREATE INDEX transactions_trades
    ON transactions (chain_id, block_number, tx_index, log_index)
    WHERE type IN ('BUY', 'SELL') AND block_number IS NOT NULL;
-- A holder's first buy of a token; a creator's tokens in order.
CREATE INDEX transactions_buys
    ON transactions (chain_id, token_address, user_address, block_time)
    WHERE type = 'BUY' AND block_number IS NOT NULL;
DROP INDEX tokens_creator;
CREATE INDEX tokens_creator
    ON tokens (chain_id, creator, block_number, tx_index, log_index);
CREATE INDEX balances_token ON balances (chain_id, token_address, balance, holder)
    WHERE balance > 0;
