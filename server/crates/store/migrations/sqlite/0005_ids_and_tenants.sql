-- A connection gets an id that never changes, every table its tenant, and what named a connection by its name names it by the id.
-- Times are Unix milliseconds. See src/lib.rs for what each table is for.

-- Ids of version 7: the time, then random bits. Named here and gone at the end: connections that were removed while something of theirs
-- is kept get an id of the year 1970.
CREATE TABLE id_of_name (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    exists_now BOOLEAN NOT NULL
) WITHOUT ROWID;
INSERT INTO id_of_name (name, id, exists_now)
SELECT name,
    lower(printf('%08x-%04x-7%s-%s%s-%s', (made_at >> 16) & 0xffffffff, made_at & 0xffff, substr(hex(randomblob(2)), 2),
        substr('89ab', 1 + (random() & 3), 1), substr(hex(randomblob(2)), 2), hex(randomblob(6)))),
    exists_now
FROM (
    SELECT name, updated_at AS made_at, 1 AS exists_now FROM connection
    UNION ALL
    SELECT name, 0, 0 FROM (
        SELECT connection AS name FROM inbox_event UNION SELECT connection FROM delivery
        UNION SELECT connection FROM support_session UNION SELECT connection FROM agent_session
    ) WHERE name NOT IN (SELECT name FROM connection)
);

CREATE TABLE connection_with_id (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL DEFAULT 'main',
    name TEXT NOT NULL,
    settings BLOB NOT NULL,
    disabled BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (tenant, name)
);
INSERT INTO connection_with_id (id, name, settings, disabled, updated_at)
SELECT i.id, c.name, c.settings, c.disabled, c.updated_at FROM connection c JOIN id_of_name i ON i.name = c.name;
DROP TABLE connection;
ALTER TABLE connection_with_id RENAME TO connection;

-- One row, over all tenants' connections: whoever looks for changes reads no connection.
CREATE TABLE connection_stamp (
    connections BIGINT NOT NULL,
    latest BIGINT NOT NULL,
    updated_sum BIGINT NOT NULL
);
INSERT INTO connection_stamp (connections, latest, updated_sum)
SELECT count(*), coalesce(max(updated_at), 0), coalesce(sum(updated_at), 0) FROM connection;
CREATE TRIGGER connection_added AFTER INSERT ON connection BEGIN
    UPDATE connection_stamp
    SET connections = connections + 1, latest = max(latest, NEW.updated_at), updated_sum = updated_sum + NEW.updated_at;
END;
CREATE TRIGGER connection_changed AFTER UPDATE ON connection BEGIN
    UPDATE connection_stamp SET latest = max(latest, NEW.updated_at), updated_sum = updated_sum - OLD.updated_at + NEW.updated_at;
END;
CREATE TRIGGER connection_removed AFTER DELETE ON connection BEGIN
    UPDATE connection_stamp SET connections = connections - 1, updated_sum = updated_sum - OLD.updated_at;
END;

-- Open sessions end: their data names the connection. Agents load the page again; the rows stay as the memory of used tokens.
ALTER TABLE agent_session ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE agent_session SET record = '', connection = (SELECT i.id FROM id_of_name i WHERE i.name = agent_session.connection);

CREATE TABLE inbox_event_with_account (
    id BLOB PRIMARY KEY,
    tenant TEXT NOT NULL DEFAULT 'main',
    account TEXT NOT NULL,
    -- The connection whose door it came through.
    received_by TEXT,
    connection TEXT,
    -- connection, or account while there is none.
    slot TEXT NOT NULL,
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
    UNIQUE (account, fingerprint)
) WITHOUT ROWID;
-- The account of older events stands in sealed settings only; 'connection/' and the id stands in its place.
INSERT INTO inbox_event_with_account (id, account, received_by, connection, slot, fingerprint, kind, rank, lsid, ticket, origin, received_at, state,
    attempts, not_before, lease_owner, lease_epoch, lease_until, outcome, finished_at)
SELECT e.id, 'connection/' || i.id, i.id, i.id, i.id, e.fingerprint, e.kind, e.rank, e.lsid, e.ticket, e.origin, e.received_at, e.state,
    e.attempts, e.not_before, e.lease_owner, e.lease_epoch, e.lease_until, e.outcome, e.finished_at
FROM inbox_event e JOIN id_of_name i ON i.name = e.connection;
DROP TABLE inbox_event;
ALTER TABLE inbox_event_with_account RENAME TO inbox_event;
CREATE INDEX inbox_event_due ON inbox_event (slot, not_before, id) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_next ON inbox_event (not_before) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_session ON inbox_event (account, lsid) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_ticket ON inbox_event (account, ticket) WHERE state IN ('ready', 'leased') AND ticket IS NOT NULL;
CREATE INDEX inbox_event_lsid ON inbox_event (lsid, kind);
CREATE INDEX inbox_event_connection ON inbox_event (connection, id);
CREATE INDEX inbox_event_done ON inbox_event (finished_at) WHERE state = 'done';
ALTER TABLE event_attempt ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';

ALTER TABLE delivery ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE delivery SET connection = (SELECT i.id FROM id_of_name i WHERE i.name = delivery.connection);
CREATE INDEX delivery_changed ON delivery (coalesce(confirmed_at, sent_at, planned_at)) WHERE state IN ('planned', 'confirmed');
CREATE INDEX delivery_ticket ON delivery (lsid) WHERE kind = 'ticket';

ALTER TABLE support_session ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE support_session SET connection = (SELECT i.id FROM id_of_name i WHERE i.name = support_session.connection);
CREATE INDEX support_session_lsid ON support_session (lsid);
CREATE INDEX support_session_seen ON support_session (seen_at);

-- One row for each time in which something handed out could be used without a break.
CREATE TABLE handed_out (
    tenant TEXT NOT NULL DEFAULT 'main',
    connection TEXT NOT NULL,
    ticket TEXT NOT NULL,
    kind TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    usable_until BIGINT NOT NULL,
    -- Keys handed out in this window, and those a session came of.
    given BIGINT NOT NULL DEFAULT 1,
    used BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (connection, ticket, kind, issued_at)
) WITHOUT ROWID;
-- How many keys stand behind such a row was not counted: none is taken for used up.
INSERT INTO handed_out (connection, ticket, kind, issued_at, usable_until, given)
SELECT i.id, k.ticket, 'key', k.issued_at, k.expires_at, 1000000 FROM issued_key k JOIN id_of_name i ON i.name = k.connection WHERE i.exists_now;
DROP TABLE issued_key;
CREATE INDEX handed_out_usable ON handed_out (usable_until);

CREATE TABLE session_owner (
    tenant TEXT NOT NULL DEFAULT 'main',
    host TEXT NOT NULL,
    lsid TEXT NOT NULL,
    connection TEXT NOT NULL,
    proof TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    PRIMARY KEY (host, lsid)
) WITHOUT ROWID;
CREATE INDEX session_owner_connection ON session_owner (connection);
CREATE INDEX session_owner_decided ON session_owner (decided_at);

-- Sweeps are of accounts now. How far the connections were swept is kept for a while: an account's first sweep begins there.
CREATE TABLE former_sweep (
    tenant TEXT NOT NULL DEFAULT 'main',
    connection TEXT PRIMARY KEY,
    checkpoint BIGINT,
    next_at BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO former_sweep (connection, checkpoint, next_at)
SELECT i.id, s.checkpoint, s.next_at FROM sweep s JOIN id_of_name i ON i.name = s.connection WHERE i.exists_now;
DROP TABLE sweep;
CREATE TABLE sweep (
    tenant TEXT NOT NULL DEFAULT 'main',
    account TEXT PRIMARY KEY,
    checkpoint BIGINT,
    next_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sweep_next ON sweep (next_at);

-- Grants for connections that were removed end.
ALTER TABLE device ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE device SET connections = (SELECT json_group_array(id) FROM (
    SELECT i.id FROM json_each(device.connections) granted JOIN id_of_name i ON i.name = granted.value AND i.exists_now ORDER BY granted.key));
CREATE INDEX device_revoked ON device (revoked_at) WHERE revoked_at IS NOT NULL;
ALTER TABLE pairing_code ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE pairing_code SET connections = (SELECT json_group_array(id) FROM (
    SELECT i.id FROM json_each(pairing_code.connections) granted JOIN id_of_name i ON i.name = granted.value AND i.exists_now ORDER BY granted.key));
DELETE FROM pairing_code WHERE connections = '[]';
CREATE INDEX pairing_code_expires ON pairing_code (expires_at);
ALTER TABLE device_nonce ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';

ALTER TABLE app_key ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
ALTER TABLE server ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';

DROP TABLE id_of_name;
