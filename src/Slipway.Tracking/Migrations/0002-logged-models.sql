CREATE TABLE logged_models (
    id              INTEGER PRIMARY KEY,
    model_id        TEXT NOT NULL UNIQUE,
    experiment_id   INTEGER NOT NULL REFERENCES experiments (id),
    name            TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('PENDING', 'READY', 'UPLOAD_FAILED')),
    model_type      TEXT,
    source_run_id   TEXT,
    lifecycle_stage TEXT NOT NULL CHECK (lifecycle_stage IN ('active', 'deleted')),
    created_at_ms   INTEGER NOT NULL,
    updated_at_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX logged_models_newest ON logged_models (experiment_id, lifecycle_stage, created_at_ms DESC, id DESC);
CREATE INDEX logged_models_by_run ON logged_models (source_run_id);

CREATE TABLE logged_model_params (
    model INTEGER NOT NULL REFERENCES logged_models (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE logged_model_tags (
    model INTEGER NOT NULL REFERENCES logged_models (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, key)
) STRICT, WITHOUT ROWID;

-- The newest value of each metric on each dataset by each run; the curve is the run's. No dataset is the empty text.
CREATE TABLE logged_model_metrics (
    model          INTEGER NOT NULL REFERENCES logged_models (id),
    key            TEXT NOT NULL,
    dataset_name   TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    run            INTEGER NOT NULL REFERENCES runs (id),
    at_ms          INTEGER NOT NULL,
    step           INTEGER NOT NULL,
    value          REAL NOT NULL,
    is_nan         INTEGER NOT NULL,
    PRIMARY KEY (model, key, dataset_name, dataset_digest, run)
) STRICT, WITHOUT ROWID;

CREATE TABLE logged_model_artifacts (
    model         INTEGER NOT NULL REFERENCES logged_models (id),
    path          TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    size_bytes    INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (model, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_models (
    run      INTEGER NOT NULL REFERENCES runs (id),
    relation TEXT NOT NULL CHECK (relation IN ('input', 'output')),
    model    INTEGER NOT NULL REFERENCES logged_models (id),
    step     INTEGER NOT NULL,
    PRIMARY KEY (run, relation, model, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_models_by_model ON run_models (model, relation);
