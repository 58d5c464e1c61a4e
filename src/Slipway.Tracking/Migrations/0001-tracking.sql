CREATE TABLE experiments (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT NOT NULL UNIQUE,
    lifecycle_stage TEXT NOT NULL CHECK (lifecycle_stage IN ('active', 'deleted')),
    created_at_ms   INTEGER NOT NULL,
    updated_at_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX experiments_newest ON experiments (updated_at_ms DESC, id);

-- MLflow's clients take experiment 0 for granted.
INSERT INTO experiments (id, name, lifecycle_stage, created_at_ms, updated_at_ms)
VALUES (0, 'Default', 'active', CAST(strftime('%s', 'now') AS INTEGER) * 1000, CAST(strftime('%s', 'now') AS INTEGER) * 1000);

CREATE TABLE experiment_tags (
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    key           TEXT NOT NULL,
    value         TEXT NOT NULL,
    PRIMARY KEY (experiment_id, key)
) STRICT, WITHOUT ROWID;

-- The tables below refer to a run by its small number, not by its 32 characters: metric points are many.
CREATE TABLE runs (
    id              INTEGER PRIMARY KEY,
    run_id          TEXT NOT NULL UNIQUE,
    experiment_id   INTEGER NOT NULL REFERENCES experiments (id),
    name            TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('RUNNING', 'SCHEDULED', 'FINISHED', 'FAILED', 'KILLED')),
    start_at_ms     INTEGER NOT NULL,
    end_at_ms       INTEGER,
    lifecycle_stage TEXT NOT NULL CHECK (lifecycle_stage IN ('active', 'deleted'))
) STRICT;
CREATE INDEX runs_newest ON runs (experiment_id, lifecycle_stage, start_at_ms DESC, run_id);
CREATE INDEX runs_by_name ON runs (experiment_id, name);

CREATE TABLE metric_points (
    run    INTEGER NOT NULL REFERENCES runs (id),
    key    TEXT NOT NULL,
    step   INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    value  REAL NOT NULL,
    is_nan INTEGER NOT NULL,
    PRIMARY KEY (run, key, step, at_ms, value, is_nan)
) STRICT, WITHOUT ROWID;

CREATE TABLE latest_metrics (
    run    INTEGER NOT NULL REFERENCES runs (id),
    key    TEXT NOT NULL,
    step   INTEGER NOT NULL,
    at_ms  INTEGER NOT NULL,
    value  REAL NOT NULL,
    is_nan INTEGER NOT NULL,
    PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE params (
    run   INTEGER NOT NULL REFERENCES runs (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (
    run   INTEGER NOT NULL REFERENCES runs (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_inputs (
    run         INTEGER NOT NULL REFERENCES runs (id),
    name        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    context     TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source      TEXT NOT NULL,
    row_count   INTEGER,
    schema      TEXT,
    profile     TEXT,
    tags_json   TEXT NOT NULL,
    PRIMARY KEY (run, name, digest, context)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_inputs_by_digest ON run_inputs (digest, run);

CREATE TABLE run_artifacts (
    run           INTEGER NOT NULL REFERENCES runs (id),
    path          TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    size_bytes    INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_environments (
    run              INTEGER PRIMARY KEY REFERENCES runs (id),
    sha256           TEXT NOT NULL,
    environment_json TEXT NOT NULL
) STRICT;
