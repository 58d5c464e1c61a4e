-- A service's version fixes the versions of the views behind it, so that a model which pins the service pins everything.
CREATE TABLE feature_service_versions (
    name               TEXT    NOT NULL,
    version            INTEGER NOT NULL,
    definition_version INTEGER NOT NULL,
    views_json         TEXT    NOT NULL,
    created_at_ms      INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

-- One file per view version and dataset content.
CREATE TABLE feature_builds (
    view            TEXT    NOT NULL,
    view_version    INTEGER NOT NULL,
    dataset         TEXT    NOT NULL,
    dataset_version INTEGER NOT NULL,
    dataset_sha256  TEXT    NOT NULL,
    sha256          TEXT    NOT NULL,
    rows            INTEGER NOT NULL,
    tied_rows       INTEGER NOT NULL,
    built_at_ms     INTEGER NOT NULL,
    PRIMARY KEY (view, view_version, dataset_sha256)
) STRICT;

CREATE TABLE training_sets (
    sha256          TEXT    NOT NULL PRIMARY KEY,
    service         TEXT    NOT NULL,
    service_version INTEGER NOT NULL,
    dataset         TEXT    NOT NULL,
    dataset_version INTEGER NOT NULL,
    entity_sql      TEXT    NOT NULL,
    rows            INTEGER NOT NULL,
    features_json   TEXT    NOT NULL,
    views_json      TEXT    NOT NULL,
    ties_json       TEXT    NOT NULL,
    created_at_ms   INTEGER NOT NULL
) STRICT;
