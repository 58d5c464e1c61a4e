-- Small numbers refer to a trace, as they do to a run: spans and their attributes are many.
CREATE TABLE traces (
    id                INTEGER PRIMARY KEY,
    trace_id          TEXT NOT NULL UNIQUE,
    experiment_id     INTEGER NOT NULL REFERENCES experiments (id),
    at_ms             INTEGER NOT NULL,
    duration_ms       INTEGER,
    state             TEXT NOT NULL CHECK (state IN ('STATE_UNSPECIFIED', 'OK', 'ERROR', 'IN_PROGRESS')),
    client_request_id TEXT,
    request_preview   TEXT,
    response_preview  TEXT,
    -- 1 once a client has stated times and state itself; spans that come later no longer change them.
    is_stated         INTEGER NOT NULL
) STRICT;
CREATE INDEX traces_newest ON traces (experiment_id, at_ms DESC, trace_id);

CREATE TABLE trace_tags (
    trace INTEGER NOT NULL REFERENCES traces (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE trace_metadata (
    trace INTEGER NOT NULL REFERENCES traces (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, key)
) STRICT, WITHOUT ROWID;

-- By id and not by number: a client may link a trace whose spans are still on their way.
CREATE TABLE trace_runs (
    run_id   TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    PRIMARY KEY (run_id, trace_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX trace_runs_by_trace ON trace_runs (trace_id, run_id);

-- Name and type are cut to what an index row can hold; the whole span is in content.
CREATE TABLE spans (
    trace          INTEGER NOT NULL REFERENCES traces (id),
    span_id        TEXT NOT NULL,
    parent_span_id TEXT,
    name           TEXT NOT NULL,
    type           TEXT NOT NULL,
    status         TEXT NOT NULL,
    start_ns       INTEGER NOT NULL,
    end_ns         INTEGER,
    content        TEXT NOT NULL,
    PRIMARY KEY (trace, span_id)
) STRICT;
-- Filters on these are answered without reading content.
CREATE INDEX spans_by_name ON spans (trace, name, type, status, span_id);

CREATE TABLE span_attributes (
    trace   INTEGER NOT NULL REFERENCES traces (id),
    span_id TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    number  REAL,
    PRIMARY KEY (trace, span_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE assessments (
    id            INTEGER PRIMARY KEY,
    assessment_id TEXT NOT NULL UNIQUE,
    trace         INTEGER NOT NULL REFERENCES traces (id),
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('feedback', 'expectation')),
    value_json    TEXT,
    value         TEXT,
    number        REAL,
    error_json    TEXT,
    source_type   TEXT NOT NULL,
    source_id     TEXT NOT NULL,
    rationale     TEXT,
    metadata_json TEXT NOT NULL,
    span_id       TEXT,
    overrides     TEXT,
    is_valid      INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX assessments_by_name ON assessments (trace, kind, name, is_valid);

CREATE TABLE evaluation_datasets (
    id              INTEGER PRIMARY KEY,
    dataset_id      TEXT NOT NULL UNIQUE,
    name            TEXT NOT NULL,
    schema          TEXT,
    profile         TEXT,
    digest          TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    updated_at_ms   INTEGER NOT NULL,
    created_by      TEXT,
    last_updated_by TEXT
) STRICT;
CREATE INDEX evaluation_datasets_newest ON evaluation_datasets (created_at_ms DESC, dataset_id);
CREATE INDEX evaluation_datasets_by_name ON evaluation_datasets (name);

CREATE TABLE evaluation_dataset_experiments (
    dataset       INTEGER NOT NULL REFERENCES evaluation_datasets (id),
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    PRIMARY KEY (dataset, experiment_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX evaluation_dataset_experiments_by_experiment ON evaluation_dataset_experiments (experiment_id, dataset);

CREATE TABLE evaluation_dataset_tags (
    dataset INTEGER NOT NULL REFERENCES evaluation_datasets (id),
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (dataset, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluation_dataset_records (
    id                INTEGER PRIMARY KEY,
    record_id         TEXT NOT NULL UNIQUE,
    dataset           INTEGER NOT NULL REFERENCES evaluation_datasets (id),
    inputs_sha256     TEXT NOT NULL,
    inputs_json       TEXT NOT NULL,
    outputs_json      TEXT,
    expectations_json TEXT,
    tags_json         TEXT,
    source_json       TEXT,
    source_id         TEXT,
    source_type       TEXT,
    created_at_ms     INTEGER NOT NULL,
    updated_at_ms     INTEGER NOT NULL,
    created_by        TEXT,
    last_updated_by   TEXT,
    UNIQUE (dataset, inputs_sha256)
) STRICT;
CREATE INDEX evaluation_dataset_records_by_dataset ON evaluation_dataset_records (dataset, id);
