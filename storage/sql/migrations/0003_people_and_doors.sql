-- Final work in the order of the chain, for consumers that keep a cursor of their own.
CREATE INDEX outbox_visible ON outbox (chain_id, block_number) WHERE visible_at IS NOT NULL;
