-- How far a monitor has come. Written in the transaction of the windows it counts, so that a stop in between repeats or skips none.
CREATE TABLE monitor_state (
    monitor            TEXT PRIMARY KEY,
    drift_end_ms       INTEGER NOT NULL,
    performance_end_ms INTEGER NOT NULL,
    decided_end_ms     INTEGER NOT NULL,
    streaks            TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE monitor_windows (
    monitor            TEXT NOT NULL,
    window_end_ms      INTEGER NOT NULL,
    version            TEXT NOT NULL,
    rows               INTEGER NOT NULL,
    definition_version INTEGER NOT NULL,
    evaluated_at_ms    INTEGER NOT NULL,
    labels             INTEGER,
    predictions        INTEGER,
    labels_at_ms       INTEGER,
    PRIMARY KEY (monitor, window_end_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE monitor_results (
    monitor       TEXT NOT NULL,
    window_end_ms INTEGER NOT NULL,
    subject       TEXT NOT NULL,
    metric        TEXT NOT NULL,
    value         REAL NOT NULL,
    band          TEXT NOT NULL,
    n             INTEGER NOT NULL,
    PRIMARY KEY (monitor, window_end_ms, subject, metric)
) STRICT, WITHOUT ROWID;
CREATE INDEX monitor_results_series ON monitor_results (monitor, subject, metric, window_end_ms);

-- Counts per bin of each month, in the order of the version's baseline.
CREATE TABLE monitor_months (
    monitor TEXT NOT NULL,
    month   TEXT NOT NULL,
    version TEXT NOT NULL,
    rows    INTEGER NOT NULL,
    counts  TEXT NOT NULL,
    PRIMARY KEY (monitor, month, version)
) STRICT, WITHOUT ROWID;

-- Label files whose labels are in the performance windows.
CREATE TABLE monitor_label_segments (
    monitor TEXT NOT NULL,
    segment TEXT NOT NULL,
    PRIMARY KEY (monitor, segment)
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
    id                   TEXT PRIMARY KEY,
    monitor              TEXT NOT NULL,
    model                TEXT NOT NULL,
    kind                 TEXT NOT NULL CHECK (kind IN ('drift', 'performance')),
    severity             TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
    status               TEXT NOT NULL CHECK (status IN ('open', 'closed')),
    message              TEXT NOT NULL,
    subject              TEXT NOT NULL,
    metric               TEXT NOT NULL,
    value                REAL NOT NULL,
    limit_value          REAL NOT NULL,
    peak                 REAL NOT NULL,
    subjects             TEXT NOT NULL,
    windows              INTEGER NOT NULL,
    times_opened         INTEGER NOT NULL,
    owner                TEXT NOT NULL,
    procedure            TEXT NOT NULL,
    first_window_end_ms  INTEGER NOT NULL,
    last_window_end_ms   INTEGER NOT NULL,
    closed_window_end_ms INTEGER,
    opened_at_ms         INTEGER NOT NULL,
    closed_at_ms         INTEGER,
    acknowledged_by      TEXT,
    acknowledged_at_ms   INTEGER,
    comment              TEXT
) STRICT, WITHOUT ROWID;
-- The database itself refuses a second open alert of one kind.
CREATE UNIQUE INDEX alerts_one_open ON alerts (monitor, kind) WHERE status = 'open';
CREATE INDEX alerts_opened ON alerts (opened_at_ms);

CREATE TABLE monitor_actions (
    id              TEXT PRIMARY KEY,
    monitor         TEXT NOT NULL,
    alert_id        TEXT NOT NULL REFERENCES alerts (id),
    action          TEXT NOT NULL,
    trigger_kind    TEXT NOT NULL,
    pipeline        TEXT NOT NULL,
    reason          TEXT NOT NULL,
    parameters      TEXT NOT NULL,
    window_end_ms   INTEGER NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'started', 'failed')),
    pipeline_run_id TEXT,
    error           TEXT,
    decided_at_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX monitor_actions_monitor ON monitor_actions (monitor, window_end_ms);
