-- A pause is no status: a paused rollout goes on being weighed, and goes back on a breach.
ALTER TABLE rollouts ADD COLUMN paused_at_ms INTEGER;
ALTER TABLE rollouts ADD COLUMN paused_by TEXT;
ALTER TABLE rollouts ADD COLUMN pause_reason TEXT;

-- What a decision was made from beside the counts: the step's beginning, the pause, the moment. NULL: not a decision of the rules.
ALTER TABLE rollout_decisions ADD COLUMN state TEXT;
