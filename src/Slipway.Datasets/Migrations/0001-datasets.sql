CREATE TABLE dataset_versions (
    name           TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    sha256         TEXT    NOT NULL,
    size_bytes     INTEGER NOT NULL,
    rows           INTEGER NOT NULL,
    columns_json   TEXT    NOT NULL,
    profile_sha256 TEXT    NOT NULL,
    created_by     TEXT    NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    PRIMARY KEY (name, version),
    UNIQUE (name, sha256)
) STRICT;

-- Every report is kept; the newest of a version is the one in force.
CREATE TABLE dataset_validations (
    id                 INTEGER PRIMARY KEY,
    name               TEXT    NOT NULL,
    version            INTEGER NOT NULL,
    definition_version INTEGER NOT NULL,
    passed             INTEGER NOT NULL,
    report_json        TEXT    NOT NULL,
    validated_by       TEXT    NOT NULL,
    validated_at_ms    INTEGER NOT NULL,
    FOREIGN KEY (name, version) REFERENCES dataset_versions (name, version)
) STRICT;

CREATE INDEX dataset_validations_by_version ON dataset_validations (name, version, id);
