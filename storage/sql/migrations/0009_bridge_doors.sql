-- What the doors show of transfers: every step that one took, written by whatever changed it, so
-- that no way of changing it can forget to. Rows are told to the wallet's sockets in their order.
CREATE TABLE bridge_steps (
    source_chain BIGINT NOT NULL,
    version INTEGER NOT NULL,
    request_id hash NOT NULL,
    number INTEGER NOT NULL,
    status TEXT NOT NULL,
    step TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    told BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (source_chain, version, request_id, number),
    FOREIGN KEY (source_chain, version, request_id) REFERENCES bridge_requests ON DELETE CASCADE
);

CREATE INDEX bridge_steps_untold ON bridge_steps (at) WHERE NOT told;

-- A transfer that goes to and fro for days is cut off in the middle: its end is always kept.
CREATE FUNCTION note_bridge_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bridge_steps (source_chain, version, request_id, number, status, step, reason)
    SELECT
        NEW.source_chain, NEW.version, NEW.id, coalesce(max(number), 0) + 1, NEW.status, NEW.step,
        NEW.reason
    FROM bridge_steps
    WHERE source_chain = NEW.source_chain AND version = NEW.version AND request_id = NEW.id
    HAVING coalesce(max(number), 0) < 64 OR NEW.ended_at IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER bridge_requests_made AFTER INSERT ON bridge_requests
    FOR EACH ROW EXECUTE FUNCTION note_bridge_step();
CREATE TRIGGER bridge_requests_moved AFTER UPDATE ON bridge_requests
    FOR EACH ROW WHEN (OLD.step IS DISTINCT FROM NEW.step OR OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION note_bridge_step();

-- By what the doors gave out, and a wallet's in the order that pages have.
CREATE INDEX bridge_requests_id ON bridge_requests (id);
DROP INDEX bridge_requests_user;
CREATE INDEX bridge_requests_user ON bridge_requests (user_address, created_at, id);
