-- Requests for help of which a ticket was made, or is being made, and the machines they came from. One of each machine is the current one.
CREATE TABLE help_ticket (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    request TEXT NOT NULL,
    machine TEXT NOT NULL,
    -- NULL until it is made.
    ticket TEXT,
    -- Unix milliseconds of the engine's clock.
    asked_at BIGINT NOT NULL,
    is_current BOOLEAN NOT NULL,
    PRIMARY KEY (connection, request)
) WITHOUT ROWID;
CREATE UNIQUE INDEX help_ticket_machine ON help_ticket (connection, machine) WHERE is_current;
CREATE INDEX help_ticket_ticket ON help_ticket (connection, ticket, machine);
CREATE INDEX help_ticket_asked ON help_ticket (asked_at);
