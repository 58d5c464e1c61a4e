-- What MLflow 3.x adds to the tables of 2.x.
UPDATE alembic_version SET version_num = '71994744cf8e';
ALTER TABLE inputs ADD COLUMN step BIGINT DEFAULT 0 NOT NULL;
ALTER TABLE trace_info ADD COLUMN client_request_id VARCHAR(50);
ALTER TABLE trace_info ADD COLUMN request_preview VARCHAR(1000);
ALTER TABLE trace_info ADD COLUMN response_preview VARCHAR(1000);

CREATE TABLE logged_models (
    model_id VARCHAR(36) NOT NULL PRIMARY KEY, experiment_id INTEGER NOT NULL REFERENCES experiments (experiment_id), name VARCHAR(500) NOT NULL,
    artifact_location VARCHAR(1000) NOT NULL, creation_timestamp_ms BIGINT NOT NULL, last_updated_timestamp_ms BIGINT NOT NULL, status INTEGER NOT NULL,
    lifecycle_stage VARCHAR(32), model_type VARCHAR(500), source_run_id VARCHAR(32), status_message VARCHAR(1000));
CREATE TABLE logged_model_params (
    model_id VARCHAR(36) NOT NULL REFERENCES logged_models (model_id), experiment_id INTEGER NOT NULL, param_key VARCHAR(255) NOT NULL, param_value TEXT NOT NULL,
    PRIMARY KEY (model_id, param_key));
CREATE TABLE logged_model_tags (
    model_id VARCHAR(36) NOT NULL REFERENCES logged_models (model_id), experiment_id INTEGER NOT NULL, tag_key VARCHAR(255) NOT NULL, tag_value TEXT NOT NULL,
    PRIMARY KEY (model_id, tag_key));
CREATE TABLE logged_model_metrics (
    model_id VARCHAR(36) NOT NULL REFERENCES logged_models (model_id), metric_name VARCHAR(500) NOT NULL, metric_timestamp_ms BIGINT NOT NULL, metric_step BIGINT NOT NULL,
    metric_value FLOAT, experiment_id INTEGER NOT NULL, run_id VARCHAR(32) NOT NULL, dataset_uuid VARCHAR(36), dataset_name VARCHAR(500), dataset_digest VARCHAR(36),
    PRIMARY KEY (model_id, metric_name, metric_timestamp_ms, metric_step, run_id));
CREATE TABLE spans (
    trace_id VARCHAR(50) NOT NULL REFERENCES trace_info (request_id), experiment_id INTEGER NOT NULL, span_id VARCHAR(50) NOT NULL, parent_span_id VARCHAR(50), name TEXT,
    type VARCHAR(500), status VARCHAR(50) NOT NULL, start_time_unix_nano BIGINT NOT NULL, end_time_unix_nano BIGINT, content TEXT NOT NULL, PRIMARY KEY (trace_id, span_id));
CREATE TABLE assessments (
    assessment_id VARCHAR(50) NOT NULL PRIMARY KEY, trace_id VARCHAR(50) NOT NULL REFERENCES trace_info (request_id), name VARCHAR(250) NOT NULL,
    assessment_type VARCHAR(20) NOT NULL, value TEXT NOT NULL, error TEXT, created_timestamp BIGINT NOT NULL, last_updated_timestamp BIGINT NOT NULL,
    source_type VARCHAR(50) NOT NULL, source_id VARCHAR(250), run_id VARCHAR(32), span_id VARCHAR(50), rationale TEXT, overrides VARCHAR(50), valid BOOLEAN NOT NULL,
    assessment_metadata TEXT);
CREATE TABLE evaluation_datasets (
    dataset_id VARCHAR(36) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, schema TEXT, profile TEXT, digest VARCHAR(64), created_time BIGINT, last_update_time BIGINT,
    created_by VARCHAR(255), last_updated_by VARCHAR(255));
