-- Where clients put the files of an experiment's runs by themselves; NULL: they send them to the server. Never changes once there are runs.
ALTER TABLE experiments ADD COLUMN artifact_location TEXT;
