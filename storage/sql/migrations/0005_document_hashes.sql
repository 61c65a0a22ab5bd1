-- A document is kept while a token holds its hash.
CREATE INDEX tokens_metadata_hash ON tokens (chain_id, metadata_hash);
