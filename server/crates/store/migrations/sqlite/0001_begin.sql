-- Times are Unix milliseconds. Hashes are SHA-256. See store/mod.rs for what each table is for.

CREATE TABLE connection (
    name TEXT PRIMARY KEY,
    settings BLOB NOT NULL,
    disabled BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL
);

-- With a rowid: rows are appended, and only the narrow index of the hashes is written all over the place.
CREATE TABLE agent_session (
    id_hash BLOB PRIMARY KEY,
    connection TEXT NOT NULL,
    record TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    keep_until BIGINT NOT NULL
);
CREATE INDEX agent_session_keep ON agent_session (keep_until);

CREATE TABLE inbox_event (
    id BLOB PRIMARY KEY,
    connection TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    kind TEXT NOT NULL,
    rank INTEGER NOT NULL,
    lsid TEXT NOT NULL,
    ticket TEXT,
    origin TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before BIGINT NOT NULL,
    lease_owner BLOB,
    lease_epoch BIGINT NOT NULL DEFAULT 0,
    lease_until BIGINT,
    outcome TEXT,
    finished_at BIGINT,
    UNIQUE (connection, fingerprint)
) WITHOUT ROWID;
CREATE INDEX inbox_event_due ON inbox_event (connection, not_before, id) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_next ON inbox_event (not_before) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_session ON inbox_event (connection, lsid) WHERE state IN ('ready', 'leased');

CREATE INDEX inbox_event_ticket ON inbox_event (connection, ticket) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_lsid ON inbox_event (connection, lsid, kind);

CREATE TABLE delivery (
    connection TEXT NOT NULL,
    lsid TEXT NOT NULL,
    kind TEXT NOT NULL,
    part INTEGER NOT NULL,
    ticket TEXT NOT NULL,
    marker TEXT NOT NULL,
    state TEXT NOT NULL,
    remote_id TEXT,
    planned_at BIGINT NOT NULL,
    sent_at BIGINT,
    confirmed_at BIGINT,
    PRIMARY KEY (connection, lsid, kind, part)
) WITHOUT ROWID;

CREATE TABLE support_session (
    connection TEXT NOT NULL,
    lsid TEXT NOT NULL,
    ticket TEXT NOT NULL,
    representative TEXT,
    customer TEXT,
    active BOOLEAN NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    recorded_at BIGINT,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (connection, lsid)
) WITHOUT ROWID;
CREATE INDEX support_session_ticket ON support_session (connection, ticket);

CREATE TABLE issued_key (
    connection TEXT NOT NULL,
    ticket TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (connection, ticket)
) WITHOUT ROWID;

CREATE TABLE sweep (
    connection TEXT PRIMARY KEY,
    checkpoint BIGINT,
    next_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE server (
    id BLOB PRIMARY KEY,
    seen_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE app_key (
    app TEXT PRIMARY KEY,
    pem TEXT NOT NULL,
    fetched_at BIGINT NOT NULL
) WITHOUT ROWID;
