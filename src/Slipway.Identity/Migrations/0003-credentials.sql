-- A user has a number (MLflow's clients want one), a state, perhaps a password and perhaps a subject at an OpenID provider. A deleted user
-- keeps its row, so that its name, of which the records speak, is never given to another. Tokens become API keys, of which there may be many.
CREATE TABLE users_new (
    id               INTEGER NOT NULL UNIQUE,
    name             TEXT PRIMARY KEY,
    role             TEXT NOT NULL CHECK (role IN ('viewer', 'service', 'data_scientist', 'ml_engineer', 'approver', 'auditor', 'administrator')),
    groups_json      TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'deleted')),
    password_hash    TEXT,
    provider_subject TEXT UNIQUE,
    created_by       TEXT NOT NULL,
    created_at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO users_new (id, name, role, groups_json, state, created_by, created_at_ms)
SELECT (SELECT count(*) FROM users earlier WHERE earlier.name <= users.name), name, role, groups_json, 'active', created_by, created_at_ms FROM users;

CREATE TABLE api_keys (
    id               TEXT PRIMARY KEY,
    user_name        TEXT NOT NULL,
    name             TEXT NOT NULL,
    secret_sha256    TEXT NOT NULL UNIQUE,
    limits_json      TEXT NOT NULL,
    created_by       TEXT NOT NULL,
    created_at_ms    INTEGER NOT NULL,
    expires_at_ms    INTEGER,
    last_used_at_ms  INTEGER,
    revoked_by       TEXT,
    revoked_at_ms    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_user ON api_keys (user_name);
INSERT INTO api_keys (id, user_name, name, secret_sha256, limits_json, created_by, created_at_ms)
SELECT 'key-' || CAST(users_new.id AS TEXT), users.name, 'first', users.token_sha256, '{}', users.created_by, users.created_at_ms
  FROM users JOIN users_new ON users_new.name = users.name;
DROP TABLE users;
ALTER TABLE users_new RENAME TO users;

-- Sign-ins of browsers. A browser holds the random id; here is only its digest.
CREATE TABLE web_sessions (
    id_sha256       TEXT PRIMARY KEY,
    user_name       TEXT NOT NULL,
    method          TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    last_seen_at_ms INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX web_sessions_by_user ON web_sessions (user_name);

-- Links that let one user in once, to choose a password.
CREATE TABLE sign_in_links (
    code_sha256   TEXT PRIMARY KEY,
    user_name     TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who may do what with one model, one experiment or all ('*'), in one environment or all ('*').
CREATE TABLE grants (
    id            INTEGER PRIMARY KEY,
    subject_kind  TEXT NOT NULL CHECK (subject_kind IN ('user', 'group')),
    subject       TEXT NOT NULL,
    resource_kind TEXT NOT NULL CHECK (resource_kind IN ('model', 'experiment')),
    resource      TEXT NOT NULL,
    environment   TEXT NOT NULL,
    level         TEXT NOT NULL CHECK (level IN ('NO_PERMISSIONS', 'READ', 'USE', 'EDIT', 'MANAGE')),
    created_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (subject_kind, subject, resource_kind, resource, environment)
) STRICT;

-- Counts the changes of users, keys and grants, so that servers that share the database notice each other's.
CREATE TABLE identity_revision (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO identity_revision (id, revision) VALUES (1, 0);
