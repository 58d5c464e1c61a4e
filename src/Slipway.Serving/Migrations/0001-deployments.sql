CREATE TABLE deployments (
    id            TEXT PRIMARY KEY,
    model         TEXT NOT NULL,
    version       TEXT NOT NULL,
    arm           TEXT NOT NULL CHECK (arm IN ('stable', 'candidate', 'shadow')),
    started_at_ms INTEGER NOT NULL,
    start_reason  TEXT NOT NULL,
    ended_at_ms   INTEGER,
    outcome       TEXT,
    end_reason    TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX deployments_model ON deployments (model, started_at_ms);
-- A model has one version in a role at a time.
CREATE UNIQUE INDEX deployments_one_open ON deployments (model, arm) WHERE ended_at_ms IS NULL;
