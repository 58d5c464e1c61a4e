CREATE TABLE stream_pauses (
    name         TEXT PRIMARY KEY,
    paused_by    TEXT NOT NULL,
    reason       TEXT NOT NULL,
    paused_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
