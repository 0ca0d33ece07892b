-- With which machine a session was, what kind of session it was, and whether the engine keeps a recording of it.
ALTER TABLE support_session ADD COLUMN machine TEXT;
ALTER TABLE support_session ADD COLUMN kind TEXT;
ALTER TABLE support_session ADD COLUMN recording BOOLEAN NOT NULL DEFAULT FALSE;
