CREATE TABLE audit_events (
    seq           INTEGER PRIMARY KEY,
    at_ms         INTEGER NOT NULL,
    actor         TEXT NOT NULL,
    action        TEXT NOT NULL,
    subject_kind  TEXT NOT NULL,
    subject_id    TEXT NOT NULL,
    reason        TEXT,
    before_json   TEXT,
    after_json    TEXT,
    request_id    TEXT,
    previous_hash TEXT NOT NULL,
    hash          TEXT NOT NULL
) STRICT;
CREATE INDEX audit_events_subject ON audit_events (subject_kind, subject_id, seq);

CREATE TABLE lineage_edges (
    from_kind     TEXT NOT NULL,
    from_id       TEXT NOT NULL,
    relation      TEXT NOT NULL,
    to_kind       TEXT NOT NULL,
    to_id         TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (from_kind, from_id, relation, to_kind, to_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX lineage_edges_to ON lineage_edges (to_kind, to_id);

CREATE TABLE outbox (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    topic         TEXT NOT NULL,
    payload       TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox_cursors (
    reader TEXT PRIMARY KEY,
    seq    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    token      INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE definitions (
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    version       INTEGER NOT NULL,
    sha256        TEXT NOT NULL,
    yaml          TEXT NOT NULL,
    applied_by    TEXT NOT NULL,
    applied_at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, name, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob_index (
    sha256        TEXT PRIMARY KEY,
    size_bytes    INTEGER NOT NULL,
    media_type    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
