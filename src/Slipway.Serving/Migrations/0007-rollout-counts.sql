-- What a running rollout has counted in its step, so that a restarted server goes on from there: JSON {step, evidence}.
ALTER TABLE rollouts ADD COLUMN counted TEXT;
