-- What the recorder writes for every trade is checked once a write, for all of its tokens
-- (`storage/write.py`); row by row these cost a third of it, and locked the rows they looked at.

ALTER TABLE transactions
    DROP CONSTRAINT transactions_user_address_fkey,
    DROP CONSTRAINT transactions_chain_id_version_token_address_fkey;
ALTER TABLE transfers DROP CONSTRAINT transfers_chain_id_version_token_address_fkey;
ALTER TABLE price_history DROP CONSTRAINT price_history_chain_id_version_token_address_fkey;

-- Only the foreign key looked here.
DROP INDEX transfers_token;
