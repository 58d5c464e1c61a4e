-- Models exist before their first version, and carry tags of their own.
ALTER TABLE models ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
-- What was deleted keeps its row: its number is never given again, and history and lineage go on naming it.
ALTER TABLE models ADD COLUMN deleted_at_ms INTEGER;
ALTER TABLE model_versions ADD COLUMN deleted_at_ms INTEGER;
-- What MLflow's clients say of a version's origin and read again.
ALTER TABLE model_versions ADD COLUMN run_link TEXT;
ALTER TABLE model_versions ADD COLUMN logged_model_id TEXT;
ALTER TABLE model_versions ADD COLUMN status_message TEXT;
CREATE INDEX model_versions_updated ON model_versions (updated_at_ms, model, number);
CREATE INDEX models_updated ON models (updated_at_ms, name);
CREATE INDEX model_aliases_version ON model_aliases (model, version);
