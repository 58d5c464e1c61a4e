-- What a model's requests came to, minute by minute; servers add to the same rows.
CREATE TABLE slo_minutes (
    model     TEXT NOT NULL,
    minute_ms INTEGER NOT NULL,
    total     INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    slow      INTEGER NOT NULL,
    refused   INTEGER NOT NULL,
    PRIMARY KEY (model, minute_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE slo_alerts (
    id           TEXT PRIMARY KEY,
    model        TEXT NOT NULL,
    objective    TEXT NOT NULL,
    level        TEXT NOT NULL CHECK (level IN ('slow', 'medium', 'fast')),
    highest      TEXT NOT NULL CHECK (highest IN ('slow', 'medium', 'fast')),
    reason       TEXT NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    closed_at_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX slo_alerts_model ON slo_alerts (model, opened_at_ms);
CREATE UNIQUE INDEX slo_alerts_one_open ON slo_alerts (model, objective) WHERE closed_at_ms IS NULL;
