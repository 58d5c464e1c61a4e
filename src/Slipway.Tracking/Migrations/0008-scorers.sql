CREATE TABLE scorers (
    id            INTEGER PRIMARY KEY,
    scorer_id     TEXT NOT NULL UNIQUE,
    experiment_id INTEGER NOT NULL REFERENCES experiments (id),
    name          TEXT NOT NULL,
    UNIQUE (experiment_id, name)
) STRICT;

CREATE TABLE scorer_versions (
    scorer        INTEGER NOT NULL REFERENCES scorers (id),
    version       INTEGER NOT NULL,
    serialized    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (scorer, version)
) STRICT;
