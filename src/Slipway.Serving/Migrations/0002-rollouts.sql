CREATE TABLE rollouts (
    id                  TEXT PRIMARY KEY,
    model               TEXT NOT NULL,
    version             TEXT NOT NULL,
    stable_version      TEXT NOT NULL,
    spec_name           TEXT NOT NULL,
    spec_version        INTEGER NOT NULL,
    status              TEXT NOT NULL CHECK (status IN ('running', 'completed', 'rolled_back', 'aborted')),
    step                INTEGER NOT NULL,
    step_started_at_ms  INTEGER NOT NULL,
    requested_by        TEXT NOT NULL,
    start_reason        TEXT NOT NULL,
    started_at_ms       INTEGER NOT NULL,
    ended_at_ms         INTEGER,
    end_reason          TEXT,
    restore_ms          REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX rollouts_started ON rollouts (started_at_ms);
-- The database itself refuses a second candidate beside the first.
CREATE UNIQUE INDEX rollouts_one_running ON rollouts (model) WHERE status = 'running';

CREATE TABLE rollout_steps (
    rollout_id      TEXT NOT NULL REFERENCES rollouts (id),
    step            INTEGER NOT NULL,
    shadow          INTEGER NOT NULL,
    percent         REAL NOT NULL,
    min_requests    INTEGER NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'running', 'passed', 'stopped')),
    started_at_ms   INTEGER,
    ended_at_ms     INTEGER,
    requests        INTEGER NOT NULL DEFAULT 0,
    errors          INTEGER NOT NULL DEFAULT 0,
    stable_requests INTEGER NOT NULL DEFAULT 0,
    stable_errors   INTEGER NOT NULL DEFAULT 0,
    gates           TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (rollout_id, step)
) STRICT, WITHOUT ROWID;

-- The evidence is whole: the same rule on it gives the same decision.
CREATE TABLE rollout_decisions (
    rollout_id TEXT NOT NULL REFERENCES rollouts (id),
    seq        INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    step       INTEGER NOT NULL,
    action     TEXT NOT NULL CHECK (action IN ('hold', 'advance', 'complete', 'roll_back')),
    reason     TEXT NOT NULL,
    gates      TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    PRIMARY KEY (rollout_id, seq)
) STRICT, WITHOUT ROWID;
