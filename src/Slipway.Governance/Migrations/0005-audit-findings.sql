CREATE TABLE audit_findings (
    subject_kind TEXT    NOT NULL,
    subject_id   TEXT    NOT NULL,
    check_name   TEXT    NOT NULL,
    detail       TEXT    NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    seen_at_ms   INTEGER NOT NULL,
    closed_at_ms INTEGER,
    PRIMARY KEY (subject_kind, subject_id, check_name)
) STRICT, WITHOUT ROWID;
