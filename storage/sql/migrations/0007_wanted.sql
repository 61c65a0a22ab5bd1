-- How many of each role the operator wants; none: what the settings begin with.
CREATE TABLE wanted (
    chain_id BIGINT PRIMARY KEY,
    shards INTEGER NOT NULL CHECK (shards > 0),
    gateways INTEGER NOT NULL CHECK (gateways > 0),
    stream_gateways INTEGER NOT NULL CHECK (stream_gateways >= 0),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
