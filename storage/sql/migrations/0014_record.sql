-- Every trade goes into each index of what it writes, and that is most of what recording costs.
-- These say the same with fewer of them, and with those that grow at their end where one can
-- choose: a hash lies anywhere, a block always last.

-- A holder's first buy stands with what it holds: found without an index over all buys.
ALTER TABLE balances
    -- Time of the block; none for a wallet that was only given.
    ADD COLUMN first_buy BIGINT;

UPDATE balances AS held
SET first_buy = bought.first_buy
FROM (
    SELECT chain_id, version, token_address, user_address, min(block_time) AS first_buy
    FROM transactions
    WHERE type = 'BUY' AND block_number IS NOT NULL
    GROUP BY chain_id, version, token_address, user_address
) AS bought
WHERE held.chain_id = bought.chain_id AND held.version = bought.version
    AND held.token_address = bought.token_address AND held.holder = bought.user_address;

DROP INDEX transactions_buys;

-- A block's rows are its trades, which have an index in the order of the chain, and the others.
CREATE INDEX transactions_others ON transactions (chain_id, block_number)
    WHERE type NOT IN ('BUY', 'SELL') AND block_number IS NOT NULL;
DROP INDEX transactions_block;

-- Transfers are only ever read by their block: their place in the chain is their key.
ALTER TABLE transfers DROP CONSTRAINT transfers_pkey;
ALTER TABLE transfers ADD PRIMARY KEY (chain_id, block_number, tx_index, log_index);
DROP INDEX transfers_block;

-- Work is read and taken away by its block. `visible_at` is in no index, and pages keep room: so
-- making a row visible does not touch an index either.
ALTER TABLE outbox DROP CONSTRAINT outbox_pkey;
ALTER TABLE outbox ADD PRIMARY KEY (chain_id, block_number, key);
ALTER TABLE outbox SET (fillfactor = 50);
DROP INDEX outbox_waiting;
DROP INDEX outbox_due;
DROP INDEX outbox_visible;
