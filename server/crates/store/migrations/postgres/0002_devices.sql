-- Paired browsers, the codes that pair them, and which of their requests were seen. See store/devices.rs.

CREATE TABLE device (
    id BYTEA PRIMARY KEY,
    public_key BYTEA NOT NULL UNIQUE,
    name TEXT NOT NULL,
    browser TEXT,
    agent_name TEXT,
    agent_email TEXT,
    connections TEXT NOT NULL,
    paired_at BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE pairing_code (
    code_hash BYTEA PRIMARY KEY,
    agent_name TEXT,
    agent_email TEXT,
    connections TEXT NOT NULL,
    uses_left INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE device_nonce (
    fingerprint BYTEA PRIMARY KEY,
    keep_until BIGINT NOT NULL
);
CREATE INDEX device_nonce_keep ON device_nonce (keep_until);
