-- Profit by moving average cost: what a wallet holds of what it bought, and what that cost. It
-- was by the average of all buys, so that a later buy changed what was realised before.

ALTER TABLE balances
    -- After the last trade. Realised is received - spent + cost.
    ADD COLUMN held_tokens amount NOT NULL DEFAULT 0,
    ADD COLUMN cost_wei amount NOT NULL DEFAULT 0;

ALTER TABLE transactions
    -- The user's, before this buy or sell. A rewind goes back to that of the first trade that it
    -- takes away: exact, and without a look at what stays.
    ADD COLUMN held_before amount,
    ADD COLUMN cost_before amount;

-- As `engine/basis.py` has it; the state is what is held and its cost.
CREATE FUNCTION basis_after(state NUMERIC[], side TEXT, eth NUMERIC, tokens NUMERIC)
RETURNS NUMERIC[] LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF side = 'BUY' THEN
        RETURN ARRAY[state[1] + tokens, state[2] + eth];
    ELSIF tokens >= state[1] THEN
        RETURN ARRAY[0, 0]::NUMERIC[];
    END IF;
    RETURN ARRAY[state[1] - tokens, state[2] - div(state[2] * tokens, state[1])];
END
$$;

CREATE AGGREGATE basis (side TEXT, eth NUMERIC, tokens NUMERIC) (
    SFUNC = basis_after, STYPE = NUMERIC[], INITCOND = '{0, 0}'
);

CREATE TEMPORARY TABLE folded ON COMMIT DROP AS
SELECT
    chain_id, tx_hash, position, version, token_address, user_address, type, eth_amount,
    token_amount,
    basis(type, eth_amount, token_amount) OVER (
        earlier ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS before,
    lead(position) OVER earlier IS NULL AS last
FROM transactions
WHERE type IN ('BUY', 'SELL') AND block_number IS NOT NULL
WINDOW earlier AS (
    PARTITION BY chain_id, version, token_address, user_address
    ORDER BY block_number, tx_index, log_index
);

UPDATE transactions AS trade
SET held_before = folded.before[1], cost_before = folded.before[2]
FROM folded
WHERE trade.chain_id = folded.chain_id AND trade.tx_hash = folded.tx_hash
    AND trade.position = folded.position;

UPDATE balances AS held
SET held_tokens = ended.after[1], cost_wei = ended.after[2]
FROM (
    SELECT
        chain_id, version, token_address, user_address,
        basis_after(before, type, eth_amount, token_amount) AS after
    FROM folded
    WHERE last
) AS ended
WHERE held.chain_id = ended.chain_id AND held.version = ended.version
    AND held.token_address = ended.token_address AND held.holder = ended.user_address;

DROP AGGREGATE basis (TEXT, NUMERIC, NUMERIC);
DROP FUNCTION basis_after (NUMERIC[], TEXT, NUMERIC, NUMERIC);

ALTER TABLE balances ADD CHECK (held_tokens > 0 OR cost_wei = 0);
ALTER TABLE transactions
    ADD CHECK (
        num_nonnulls(held_before, cost_before)
        = CASE WHEN type IN ('BUY', 'SELL') AND block_number IS NOT NULL THEN 2 ELSE 0 END
    );

-- The board of traders, from the new sums; those with a trade that may still be taken back are
-- looked at again.
UPDATE trader_stats AS stats
SET realised_wei = summed.realised_wei
FROM (
    SELECT
        chain_id, holder,
        sum(received_wei::numeric - spent_wei::numeric + cost_wei::numeric) AS realised_wei
    FROM balances
    GROUP BY chain_id, holder
) AS summed
WHERE stats.chain_id = summed.chain_id AND stats.trader = summed.holder;

UPDATE trader_stats AS stats
SET block_number = greatest(stats.block_number, place.block_number)
FROM cursors AS place
WHERE place.chain_id = stats.chain_id AND place.name = 'recorder'
    AND EXISTS (
        SELECT FROM transactions AS trade
        WHERE trade.chain_id = stats.chain_id AND trade.user_address = stats.trader
            AND trade.type IN ('BUY', 'SELL') AND trade.block_number > place.finalised_number
    );

-- Wallets that were remembered are not these.
UPDATE cursors SET revision = gen_random_uuid() WHERE name = 'recorder';
