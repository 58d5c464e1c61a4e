-- What registration found out about a version's files, and what its benchmark measured. Beside the version, because it is found out
-- about some versions only, and the benchmark comes later.
CREATE TABLE model_version_profiles (
    model     TEXT NOT NULL,
    version   TEXT NOT NULL,
    profile   TEXT NOT NULL,
    -- 1: a server here can run the version, so that its benchmark is owed.
    measurable INTEGER NOT NULL,
    benchmark TEXT,
    PRIMARY KEY (model, version),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX model_version_profiles_owed ON model_version_profiles (model, version) WHERE benchmark IS NULL AND measurable = 1;

ALTER TABLE models ADD COLUMN kind TEXT NOT NULL DEFAULT 'trained';
ALTER TABLE models ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
-- Null: the newest version's owner answers for the model.
ALTER TABLE models ADD COLUMN owner TEXT;
ALTER TABLE models ADD COLUMN risk_class TEXT NOT NULL DEFAULT 'low' CHECK (risk_class IN ('low', 'medium', 'high', 'very_high'));
