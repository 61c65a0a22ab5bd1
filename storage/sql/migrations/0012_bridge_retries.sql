-- How many transactions of a request did not do their work says when the next is tried.
CREATE INDEX bridge_sends_failed ON bridge_sends (source_chain, version, request_id)
    WHERE outcome IN ('reverted', 'elsewhere');
