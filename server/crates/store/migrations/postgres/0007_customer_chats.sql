-- A chat that a customer starts from their own ticket. Pressing again gets the same one while it can be opened.
CREATE TABLE customer_chat (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    ticket TEXT NOT NULL,
    customer TEXT NOT NULL,
    issue TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT,
    company TEXT,
    expires_at BIGINT NOT NULL,
    opened_at BIGINT,
    PRIMARY KEY (connection, ticket, customer, issue)
);
CREATE UNIQUE INDEX customer_chat_id ON customer_chat (id);
CREATE INDEX customer_chat_expires ON customer_chat (expires_at);

-- How often somebody did what they may do only so often.
CREATE TABLE use_count (
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    used BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, subject)
);
CREATE INDEX use_count_ends ON use_count (ends_at);

-- Part of what signs the values in ticket fields; raised to make those that are out there void.
CREATE TABLE ticket_value_epoch (
    tenant TEXT NOT NULL,
    connection TEXT PRIMARY KEY,
    epoch BIGINT NOT NULL
);
