-- A connection gets an id that never changes, every table its tenant, and what named a connection by its name names it by the id.
-- Times are Unix milliseconds. See src/lib.rs for what each table is for.

-- Ids of version 7: the time, then random bits. Named here and gone at the end: connections that were removed while something of theirs
-- is kept get an id of the year 1970.
CREATE TABLE id_of_name (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    exists_now BOOLEAN NOT NULL
);
INSERT INTO id_of_name (name, id, exists_now)
SELECT name,
    substr(lpad(to_hex(made_at), 12, '0'), 1, 8) || '-' || substr(lpad(to_hex(made_at), 12, '0'), 9, 4) || '-7' || substr(gen_random_uuid()::TEXT, 16),
    exists_now
FROM (
    SELECT name, updated_at AS made_at, TRUE AS exists_now FROM connection
    UNION ALL
    SELECT name, 0, FALSE FROM (
        SELECT connection AS name FROM inbox_event UNION SELECT connection FROM delivery
        UNION SELECT connection FROM support_session UNION SELECT connection FROM agent_session
    ) kept WHERE name NOT IN (SELECT name FROM connection)
) named;

ALTER TABLE connection ADD COLUMN id TEXT;
ALTER TABLE connection ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE connection SET id = i.id FROM id_of_name i WHERE i.name = connection.name;
ALTER TABLE connection DROP CONSTRAINT connection_pkey;
ALTER TABLE connection ALTER COLUMN name SET NOT NULL;
ALTER TABLE connection ADD PRIMARY KEY (id);
ALTER TABLE connection ADD UNIQUE (tenant, name);

-- One row, over all tenants' connections: whoever looks for changes reads no connection.
CREATE TABLE connection_stamp (
    connections BIGINT NOT NULL,
    latest BIGINT NOT NULL,
    updated_sum BIGINT NOT NULL
);
INSERT INTO connection_stamp (connections, latest, updated_sum)
SELECT count(*), coalesce(max(updated_at), 0), coalesce(sum(updated_at), 0) FROM connection;
CREATE FUNCTION note_connection_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE connection_stamp
        SET connections = connections + 1, latest = greatest(latest, NEW.updated_at), updated_sum = updated_sum + NEW.updated_at;
    ELSIF TG_OP = 'UPDATE' THEN
        UPDATE connection_stamp SET latest = greatest(latest, NEW.updated_at), updated_sum = updated_sum - OLD.updated_at + NEW.updated_at;
    ELSE
        UPDATE connection_stamp SET connections = connections - 1, updated_sum = updated_sum - OLD.updated_at;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER connection_changed AFTER INSERT OR UPDATE OR DELETE ON connection FOR EACH ROW EXECUTE FUNCTION note_connection_change();

-- Open sessions end: their data names the connection. Agents load the page again; the rows stay as the memory of used tokens.
ALTER TABLE agent_session ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE agent_session SET record = '', connection = i.id FROM id_of_name i WHERE i.name = agent_session.connection;

-- The account of older events stands in sealed settings only; 'connection/' and the id stands in its place.
-- slot: connection, or account while there is none.
ALTER TABLE inbox_event DROP CONSTRAINT inbox_event_connection_fingerprint_key;
DROP INDEX inbox_event_due;
DROP INDEX inbox_event_session;
DROP INDEX inbox_event_ticket;
DROP INDEX inbox_event_lsid;
ALTER TABLE inbox_event ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
ALTER TABLE inbox_event ADD COLUMN account TEXT;
ALTER TABLE inbox_event ADD COLUMN slot TEXT;
-- The connection whose door it came through.
ALTER TABLE inbox_event ADD COLUMN received_by TEXT;
ALTER TABLE inbox_event ALTER COLUMN connection DROP NOT NULL;
UPDATE inbox_event SET account = 'connection/' || i.id, slot = i.id, received_by = i.id, connection = i.id FROM id_of_name i WHERE i.name = inbox_event.connection;
ALTER TABLE inbox_event ALTER COLUMN account SET NOT NULL;
ALTER TABLE inbox_event ALTER COLUMN slot SET NOT NULL;
ALTER TABLE inbox_event ADD UNIQUE (account, fingerprint);
CREATE INDEX inbox_event_due ON inbox_event (slot, not_before, id) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_session ON inbox_event (account, lsid) WHERE state IN ('ready', 'leased');
CREATE INDEX inbox_event_ticket ON inbox_event (account, ticket) WHERE state IN ('ready', 'leased') AND ticket IS NOT NULL;
CREATE INDEX inbox_event_lsid ON inbox_event (lsid, kind);
CREATE INDEX inbox_event_connection ON inbox_event (connection, id);
CREATE INDEX inbox_event_done ON inbox_event (finished_at) WHERE state = 'done';
ALTER TABLE event_attempt ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';

ALTER TABLE delivery ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE delivery SET connection = i.id FROM id_of_name i WHERE i.name = delivery.connection;
CREATE INDEX delivery_changed ON delivery (coalesce(confirmed_at, sent_at, planned_at)) WHERE state IN ('planned', 'confirmed');
CREATE INDEX delivery_ticket ON delivery (lsid) WHERE kind = 'ticket';

ALTER TABLE support_session ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE support_session SET connection = i.id FROM id_of_name i WHERE i.name = support_session.connection;
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
);
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
);
CREATE INDEX session_owner_connection ON session_owner (connection);
CREATE INDEX session_owner_decided ON session_owner (decided_at);

-- Sweeps are of accounts now. How far the connections were swept is kept for a while: an account's first sweep begins there.
CREATE TABLE former_sweep (
    tenant TEXT NOT NULL DEFAULT 'main',
    connection TEXT PRIMARY KEY,
    checkpoint BIGINT,
    next_at BIGINT NOT NULL
);
INSERT INTO former_sweep (connection, checkpoint, next_at)
SELECT i.id, s.checkpoint, s.next_at FROM sweep s JOIN id_of_name i ON i.name = s.connection WHERE i.exists_now;
DROP TABLE sweep;
CREATE TABLE sweep (
    tenant TEXT NOT NULL DEFAULT 'main',
    account TEXT PRIMARY KEY,
    checkpoint BIGINT,
    next_at BIGINT NOT NULL
);
CREATE INDEX sweep_next ON sweep (next_at);

-- Grants for connections that were removed end.
ALTER TABLE device ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE device SET connections = coalesce((
    SELECT json_agg(i.id ORDER BY granted.position)::TEXT
    FROM json_array_elements_text(device.connections::JSON) WITH ORDINALITY granted (name, position)
    JOIN id_of_name i ON i.name = granted.name AND i.exists_now), '[]');
CREATE INDEX device_revoked ON device (revoked_at) WHERE revoked_at IS NOT NULL;
ALTER TABLE pairing_code ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
UPDATE pairing_code SET connections = coalesce((
    SELECT json_agg(i.id ORDER BY granted.position)::TEXT
    FROM json_array_elements_text(pairing_code.connections::JSON) WITH ORDINALITY granted (name, position)
    JOIN id_of_name i ON i.name = granted.name AND i.exists_now), '[]');
DELETE FROM pairing_code WHERE connections = '[]';
CREATE INDEX pairing_code_expires ON pairing_code (expires_at);
ALTER TABLE device_nonce ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';

ALTER TABLE app_key ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';
ALTER TABLE server ADD COLUMN tenant TEXT NOT NULL DEFAULT 'main';

DROP TABLE id_of_name;
