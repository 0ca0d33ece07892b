-- An incident that a monitoring system told of, and the ticket made for it. `posted`: the newest post, until the ticket stands. `changes`: how
-- often it has ended or was open again. `creator`: the post that is answered that it made the ticket. `retry_at`: the ticket system asked not to
-- be asked for it before. The last four are for an Argus that the ticket's address is written back to.
CREATE TABLE incident (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    lsid TEXT NOT NULL,
    source TEXT NOT NULL,
    source_id TEXT NOT NULL,
    posted TEXT,
    is_open BOOLEAN NOT NULL,
    changes BIGINT NOT NULL DEFAULT 0,
    creator TEXT NOT NULL,
    retry_at BIGINT NOT NULL DEFAULT 0,
    ticket TEXT,
    ticket_url TEXT,
    first_seen BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    argus_pk BIGINT,
    argus_url TEXT,
    written_back BIGINT,
    closed_back BIGINT,
    PRIMARY KEY (connection, lsid)
) WITHOUT ROWID;
CREATE INDEX incident_closed ON incident (updated_at) WHERE NOT is_open;

-- Ends and reopenings that the ticket was not told of yet.
CREATE TABLE incident_change (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    lsid TEXT NOT NULL,
    number BIGINT NOT NULL,
    is_open BOOLEAN NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (connection, lsid, number)
) WITHOUT ROWID;
