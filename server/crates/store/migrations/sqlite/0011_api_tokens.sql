-- Tokens with which programs call this server, made by `deskbridge tokens create`.
CREATE TABLE api_token (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    -- SHA-256 of the token.
    hash BLOB NOT NULL,
    -- What it is for: a JSON list.
    purposes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    last_used_at BIGINT
) WITHOUT ROWID;
CREATE UNIQUE INDEX api_token_hash ON api_token (hash);
CREATE INDEX api_token_revoked ON api_token (revoked_at) WHERE revoked_at IS NOT NULL;

-- When the tokens in the settings were last used.
CREATE TABLE settings_token_use (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    name TEXT NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (connection, name)
) WITHOUT ROWID;
