CREATE TABLE models (
    name          TEXT PRIMARY KEY,
    created_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE model_versions (
    model                    TEXT NOT NULL REFERENCES models (name),
    version                  TEXT NOT NULL,
    number                   INTEGER NOT NULL,
    stage                    TEXT NOT NULL CHECK (stage IN ('development', 'staging', 'production', 'archived')),
    run_id                   TEXT NOT NULL,
    bump                     TEXT NOT NULL,
    bump_reason              TEXT NOT NULL,
    description              TEXT NOT NULL,
    owner                    TEXT NOT NULL,
    tags                     TEXT NOT NULL,
    signature                TEXT NOT NULL,
    feature_schema           TEXT NOT NULL,
    datasets                 TEXT NOT NULL,
    baseline_sha256          TEXT NOT NULL,
    environment_sha256       TEXT NOT NULL,
    evaluation_report_sha256 TEXT,
    training_set_sha256      TEXT,
    commit_id                TEXT,
    pipeline_run_id          TEXT,
    parent_version           TEXT,
    created_by               TEXT NOT NULL,
    created_at_ms            INTEGER NOT NULL,
    PRIMARY KEY (model, version),
    UNIQUE (model, number)
) STRICT;
CREATE INDEX model_versions_run ON model_versions (run_id);
-- The database itself refuses a second production version.
CREATE UNIQUE INDEX model_versions_one_production ON model_versions (model) WHERE stage = 'production';

CREATE TABLE model_version_files (
    model      TEXT NOT NULL,
    version    TEXT NOT NULL,
    path       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (model, version, path),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE model_aliases (
    model     TEXT NOT NULL,
    alias     TEXT NOT NULL,
    version   TEXT NOT NULL,
    set_by    TEXT NOT NULL,
    set_at_ms INTEGER NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE promotions (
    id              TEXT PRIMARY KEY,
    model           TEXT NOT NULL,
    version         TEXT NOT NULL,
    from_stage      TEXT NOT NULL,
    to_stage        TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'rejected', 'executed', 'withdrawn')),
    reason          TEXT NOT NULL,
    requested_by    TEXT NOT NULL,
    requested_at_ms INTEGER NOT NULL,
    rollback_to     TEXT,
    closed_by       TEXT,
    closed_at_ms    INTEGER,
    last_gate       TEXT,
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX promotions_model ON promotions (model, requested_at_ms);
-- One open request per version and stage, so that approvals cannot be spread over twins.
CREATE UNIQUE INDEX promotions_one_open ON promotions (model, version, to_stage) WHERE status IN ('pending', 'approved');

CREATE TABLE promotion_decisions (
    promotion_id TEXT NOT NULL REFERENCES promotions (id),
    decided_by   TEXT NOT NULL,
    role         TEXT NOT NULL,
    approved     INTEGER NOT NULL,
    comment      TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    PRIMARY KEY (promotion_id, decided_by)
) STRICT, WITHOUT ROWID;

CREATE TABLE stage_history (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    model        TEXT NOT NULL,
    version      TEXT NOT NULL,
    from_stage   TEXT,
    to_stage     TEXT NOT NULL,
    cause        TEXT NOT NULL CHECK (cause IN ('registration', 'promotion', 'replaced', 'rollback', 'rolled_back')),
    reason       TEXT NOT NULL,
    changed_by   TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    promotion_id TEXT,
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT;
CREATE INDEX stage_history_model ON stage_history (model, seq);
