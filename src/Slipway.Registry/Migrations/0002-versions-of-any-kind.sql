-- Versions that MLflow's clients register, that are bought as a service, or whose files no server here can run, lack a run, a
-- baseline or an environment. A column is remade because SQLite cannot drop NOT NULL.
DROP INDEX model_versions_run;
ALTER TABLE model_versions ADD COLUMN run TEXT;
ALTER TABLE model_versions ADD COLUMN baseline TEXT;
ALTER TABLE model_versions ADD COLUMN environment TEXT;
UPDATE model_versions SET run = run_id, baseline = baseline_sha256, environment = environment_sha256;
ALTER TABLE model_versions DROP COLUMN run_id;
ALTER TABLE model_versions DROP COLUMN baseline_sha256;
ALTER TABLE model_versions DROP COLUMN environment_sha256;
ALTER TABLE model_versions RENAME COLUMN run TO run_id;
ALTER TABLE model_versions RENAME COLUMN baseline TO baseline_sha256;
ALTER TABLE model_versions RENAME COLUMN environment TO environment_sha256;
CREATE INDEX model_versions_run ON model_versions (run_id);

ALTER TABLE model_versions ADD COLUMN format TEXT NOT NULL DEFAULT 'onnx';
-- The file a server loads: the ONNX graph as registered, or as converted on registration.
ALTER TABLE model_versions ADD COLUMN served_path TEXT;
UPDATE model_versions SET served_path =
    (SELECT path FROM model_version_files f WHERE f.model = model_versions.model AND f.version = model_versions.version AND f.path LIKE '%.onnx');
-- Where MLflow's client said the files come from, or the address of a model that is bought as a service.
ALTER TABLE model_versions ADD COLUMN source TEXT;
ALTER TABLE model_versions ADD COLUMN updated_at_ms INTEGER NOT NULL DEFAULT 0;
UPDATE model_versions SET updated_at_ms = created_at_ms;
CREATE INDEX model_versions_stage ON model_versions (model, stage, number);

ALTER TABLE models ADD COLUMN description TEXT NOT NULL DEFAULT '';
