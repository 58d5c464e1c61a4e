CREATE TABLE review_cases (
    id            TEXT PRIMARY KEY,
    model         TEXT NOT NULL,
    prediction_id TEXT NOT NULL,
    version       TEXT NOT NULL,
    arm           TEXT NOT NULL,
    output        REAL NOT NULL,
    entity_key    TEXT,
    features      TEXT NOT NULL,
    why           TEXT NOT NULL CHECK (why IN ('band', 'sample')),
    at_ms         INTEGER NOT NULL,
    event_ms      INTEGER NOT NULL,
    decision      REAL,
    decided_by    TEXT,
    decided_at_ms INTEGER,
    reason        TEXT,
    UNIQUE (model, prediction_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX review_cases_open ON review_cases (model, id) WHERE decided_at_ms IS NULL;
CREATE INDEX review_cases_decided ON review_cases (model, decided_at_ms) WHERE decided_at_ms IS NOT NULL;
