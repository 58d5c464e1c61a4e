CREATE TABLE pipeline_runs (
    id                 TEXT PRIMARY KEY,
    pipeline           TEXT NOT NULL,
    definition_version INTEGER NOT NULL,
    model              TEXT NOT NULL,
    trigger_kind       TEXT NOT NULL,
    reason             TEXT NOT NULL,
    parameters_json    TEXT NOT NULL,
    definition_yaml    TEXT NOT NULL,
    only_stage         TEXT,
    status             TEXT NOT NULL,
    verdict            TEXT,
    verdict_reason     TEXT,
    error              TEXT,
    model_version      TEXT,
    resumes            INTEGER NOT NULL DEFAULT 0,
    created_by         TEXT NOT NULL,
    created_at_ms      INTEGER NOT NULL,
    started_at_ms      INTEGER,
    finished_at_ms     INTEGER
) STRICT;
CREATE INDEX pipeline_runs_pipeline ON pipeline_runs (pipeline, created_at_ms);
CREATE INDEX pipeline_runs_status ON pipeline_runs (status, created_at_ms);

-- The threshold of each run: written when the run is asked for, never changed.
CREATE TABLE go_no_go (
    run_id               TEXT PRIMARY KEY REFERENCES pipeline_runs (id),
    metric               TEXT NOT NULL,
    minimum              REAL NOT NULL,
    must_beat_baselines  INTEGER NOT NULL,
    production_tolerance REAL,
    set_at_ms            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pipeline_stages (
    run_id          TEXT NOT NULL REFERENCES pipeline_runs (id),
    position        INTEGER NOT NULL,
    pipeline        TEXT NOT NULL,
    name            TEXT NOT NULL,
    uses            TEXT NOT NULL,
    status          TEXT NOT NULL,
    message         TEXT,
    attempts        INTEGER NOT NULL DEFAULT 0,
    cache_key       TEXT,
    cache_parts     TEXT,
    cache_note      TEXT,
    cached_from_run TEXT,
    inputs_json     TEXT NOT NULL DEFAULT '[]',
    outputs_json    TEXT NOT NULL DEFAULT '[]',
    outcome_json    TEXT,
    started_at_ms   INTEGER,
    finished_at_ms  INTEGER,
    wall_seconds    REAL,
    cpu_seconds     REAL,
    PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX pipeline_stages_cache ON pipeline_stages (cache_key, finished_at_ms) WHERE cache_key IS NOT NULL;
CREATE INDEX pipeline_stages_name ON pipeline_stages (pipeline, name, finished_at_ms);

-- Every look at a test split. A split that was looked at often is no longer untouched.
CREATE TABLE test_evaluations (
    test_set_sha256 TEXT NOT NULL,
    run_id          TEXT NOT NULL REFERENCES pipeline_runs (id),
    evaluated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (test_set_sha256, run_id)
) STRICT, WITHOUT ROWID;
