-- A search that compares or orders by a metric walks along its values. An entry that moved with every point logged would cost more than
-- the point itself, so only runs that rest are in the index: those that have ended, and all but the few that logged last. The others
-- are in moving_runs, in the order in which they began to move, and are looked up one by one.
ALTER TABLE latest_metrics ADD COLUMN is_resting INTEGER NOT NULL DEFAULT 1;
CREATE INDEX latest_metrics_by_value ON latest_metrics (key, is_nan, value, run) WHERE is_resting = 1;

CREATE TABLE moving_runs (
    id  INTEGER PRIMARY KEY,
    run INTEGER NOT NULL UNIQUE REFERENCES runs (id)
) STRICT;

CREATE INDEX runs_by_end ON runs (experiment_id, lifecycle_stage, end_at_ms) WHERE end_at_ms IS NOT NULL;
