-- A stage may also change outside this server's gates. The column is remade because SQLite cannot change a CHECK.
ALTER TABLE stage_history ADD COLUMN why TEXT NOT NULL DEFAULT 'registration'
    CHECK (why IN ('registration', 'promotion', 'replaced', 'rollback', 'rolled_back', 'retirement', 'external_change'));
UPDATE stage_history SET why = cause;
ALTER TABLE stage_history DROP COLUMN cause;
ALTER TABLE stage_history RENAME COLUMN why TO cause;

-- The external server that versions are mirrored from, and how far.
CREATE TABLE external_registry (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    address      TEXT NOT NULL,
    watermark_ms INTEGER NOT NULL,
    synced_at_ms INTEGER,
    full_at_ms   INTEGER
) STRICT;

-- What the external server last said of each mirrored version.
CREATE TABLE external_versions (
    model         TEXT NOT NULL,
    version       TEXT NOT NULL,
    number        INTEGER NOT NULL,
    stage         TEXT NOT NULL CHECK (stage IN ('development', 'staging', 'production', 'archived', 'deleted')),
    updated_at_ms INTEGER NOT NULL,
    missing       TEXT NOT NULL,
    PRIMARY KEY (model, version),
    UNIQUE (model, number),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX external_versions_incomplete ON external_versions (model, number) WHERE missing <> '';
