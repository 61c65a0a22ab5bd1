-- What caches of rows and thinned candles stand on; and indexes for counts and filters.

-- Who remembers rows remembers them under this and a place in the chain. It is another one
-- after all that changes rows below the cursor: a new recorder, a reorganisation, a token that
-- is hidden or shown. Random, so that a database restored from earlier shares none either.
ALTER TABLE cursors ADD COLUMN revision UUID NOT NULL DEFAULT gen_random_uuid();

CREATE FUNCTION revise_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE cursors SET revision = gen_random_uuid()
    WHERE chain_id = new.chain_id AND name = 'recorder';
    RETURN NULL;
END
$$;

CREATE TRIGGER tokens_visibility AFTER UPDATE OF visibility ON tokens
    FOR EACH ROW WHEN (old.visibility IS DISTINCT FROM new.visibility)
    EXECUTE FUNCTION revise_history();

-- The newest block that changed the row; within one revision the largest of a wallet's rows
-- names all of them. -1: not under this revision, or not since this column is there.
ALTER TABLE balances ADD COLUMN changed_block BIGINT NOT NULL DEFAULT -1;
DROP INDEX balances_holder;
CREATE INDEX balances_holder ON balances (chain_id, holder, changed_block);

-- Candles below `until` were merged to `step_s`, and of the step that begins there those of
-- tokens up to this one.
CREATE TABLE candle_thinning (
    chain_id BIGINT NOT NULL,
    step_s INTEGER NOT NULL,
    until BIGINT NOT NULL,
    version INTEGER NOT NULL DEFAULT -1,
    token_address BYTEA NOT NULL DEFAULT '',
    PRIMARY KEY (chain_id, step_s)
);

-- Counts of lists read an index alone; hidden tokens are few.
DROP INDEX tokens_created;
CREATE INDEX tokens_created ON tokens (chain_id, block_number, tx_index, log_index)
    INCLUDE (visibility);
CREATE INDEX tokens_hidden ON tokens (chain_id, token_address) WHERE visibility = 'hidden';
CREATE INDEX markets_phase ON markets (chain_id, phase, token_address);
