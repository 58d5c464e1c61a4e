-- Seven roles instead of five: an engineer is now either a data scientist or an ML engineer, and those of before could do what an ML
-- engineer can. Groups say on whose behalf an approver speaks. SQLite cannot change a CHECK, so the table is made anew.
CREATE TABLE users_new (
    name          TEXT PRIMARY KEY,
    role          TEXT NOT NULL CHECK (role IN ('viewer', 'service', 'data_scientist', 'ml_engineer', 'approver', 'auditor', 'administrator')),
    groups_json   TEXT NOT NULL,
    token_sha256  TEXT NOT NULL UNIQUE,
    created_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO users_new (name, role, groups_json, token_sha256, created_by, created_at_ms)
SELECT name, CASE role WHEN 'Viewer' THEN 'viewer' WHEN 'Service' THEN 'service' WHEN 'Engineer' THEN 'ml_engineer' WHEN 'Approver' THEN 'approver' ELSE 'administrator' END,
       '[]', token_sha256, created_by, created_at_ms
  FROM users;
DROP TABLE users;
ALTER TABLE users_new RENAME TO users;
