-- Who may add a report to a ticket through its page at the moment: one at a time, whatever browser they use.
CREATE TABLE note_lease (
    tenant TEXT NOT NULL,
    connection TEXT NOT NULL,
    ticket TEXT NOT NULL,
    lease TEXT NOT NULL,
    holder TEXT NOT NULL,
    agent TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    PRIMARY KEY (connection, ticket)
) WITHOUT ROWID;
CREATE INDEX note_lease_until ON note_lease (lease_until);
