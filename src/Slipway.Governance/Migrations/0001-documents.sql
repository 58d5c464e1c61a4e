CREATE TABLE documents (
    series        TEXT    NOT NULL,
    number        INTEGER NOT NULL,
    type          TEXT    NOT NULL CHECK (type IN ('model_card', 'strategy', 'maturity')),
    title         TEXT    NOT NULL,
    model         TEXT,
    model_version TEXT,
    status        TEXT    NOT NULL,
    sha256        TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL,
    facts_sha256  TEXT    NOT NULL,
    supplied_json TEXT    NOT NULL,
    created_by    TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (series, number)
) STRICT, WITHOUT ROWID;
