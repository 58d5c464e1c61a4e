-- A run that builds a registered version again: which one, and what came of the comparison.
ALTER TABLE pipeline_runs ADD COLUMN reproduces_version TEXT;
ALTER TABLE pipeline_runs ADD COLUMN reproduction_json TEXT;
CREATE INDEX pipeline_runs_reproduces ON pipeline_runs (model, reproduces_version, created_at_ms) WHERE reproduces_version IS NOT NULL;
