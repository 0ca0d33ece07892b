-- Which server hears an engine's account, and how far that account's events are stored.
CREATE TABLE listener (
    tenant TEXT NOT NULL,
    account TEXT PRIMARY KEY,
    holder BLOB,
    held_until BIGINT NOT NULL,
    -- Unix milliseconds of the engine's clock.
    cursor BIGINT
) WITHOUT ROWID;
CREATE INDEX listener_held ON listener (held_until);

-- Links that were made for tickets, each to one machine and one kind of session.
CREATE TABLE machine_link (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    link_id TEXT NOT NULL,
    ticket TEXT NOT NULL,
    machine TEXT NOT NULL,
    machine_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    agent TEXT,
    agent_email TEXT,
    made_at BIGINT NOT NULL,
    expires_at BIGINT,
    ended_at BIGINT,
    PRIMARY KEY (connection, link_id)
) WITHOUT ROWID;
CREATE INDEX machine_link_ticket ON machine_link (connection, ticket, made_at);
CREATE INDEX machine_link_over ON machine_link (coalesce(ended_at, expires_at));
