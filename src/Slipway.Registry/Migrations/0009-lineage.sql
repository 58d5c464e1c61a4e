-- Which versions are live, without reading the others.
CREATE INDEX model_versions_live ON model_versions (stage, model, version);
