-- What each attempt at an event came to. Gone with its event; the newest few are kept.
CREATE TABLE event_attempt (
    event_id BYTEA NOT NULL,
    epoch BIGINT NOT NULL,
    leased_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    result TEXT NOT NULL,
    said TEXT NOT NULL,
    next_at BIGINT,
    PRIMARY KEY (event_id, epoch)
);

-- Which event began the last write, and how many writes were begun: two events of one session must not both write.
ALTER TABLE delivery ADD COLUMN sent_by BYTEA;
ALTER TABLE delivery ADD COLUMN sends BIGINT NOT NULL DEFAULT 0;
-- Until then a write that was begun may still arrive; nobody writes again before (Unix ms).
ALTER TABLE delivery ADD COLUMN settled_at BIGINT NOT NULL DEFAULT 0;
