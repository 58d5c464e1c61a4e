-- Signed statements about the newest row of the trail; the same lines stand in a file outside the database.
CREATE TABLE audit_checkpoints (
    seq       INTEGER PRIMARY KEY,
    hash      TEXT NOT NULL,
    events    INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    key_id    TEXT NOT NULL,
    signature TEXT NOT NULL
) STRICT;

CREATE TABLE audit_keys (
    key_id      TEXT PRIMARY KEY,
    public_key  TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    endorsed_by TEXT,
    endorsement TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_events_actor ON audit_events (actor, seq);
CREATE INDEX audit_events_action ON audit_events (action, seq);
CREATE INDEX audit_events_time ON audit_events (at_ms, seq);
