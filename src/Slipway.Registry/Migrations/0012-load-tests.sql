-- What versions bore under load, as somebody measured it: several times, on different machines.
CREATE TABLE version_load_tests (
    model          TEXT NOT NULL,
    version        TEXT NOT NULL,
    number         INTEGER NOT NULL,
    report         TEXT NOT NULL,
    measured_at_ms INTEGER NOT NULL,
    measured_by    TEXT NOT NULL,
    PRIMARY KEY (model, version, number),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;
