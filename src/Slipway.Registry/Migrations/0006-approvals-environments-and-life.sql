-- Requests expire, are commented on and may lead to a named environment. A column is remade because SQLite cannot change its CHECK.
DROP INDEX promotions_one_open;
ALTER TABLE promotions ADD COLUMN state TEXT NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'approved', 'rejected', 'executed', 'withdrawn', 'expired'));
UPDATE promotions SET state = status;
ALTER TABLE promotions DROP COLUMN status;
ALTER TABLE promotions RENAME COLUMN state TO status;
CREATE UNIQUE INDEX promotions_one_open ON promotions (model, version, to_stage) WHERE status IN ('pending', 'approved');
ALTER TABLE promotions ADD COLUMN expires_at_ms INTEGER;
ALTER TABLE promotions ADD COLUMN auto_execute INTEGER NOT NULL DEFAULT 0;
CREATE INDEX promotions_open ON promotions (expires_at_ms) WHERE status IN ('pending', 'approved');

-- The step that an approval counted for, and the groups its user belonged to then.
ALTER TABLE promotion_decisions ADD COLUMN step TEXT NOT NULL DEFAULT 'approvals';
ALTER TABLE promotion_decisions ADD COLUMN member_of TEXT NOT NULL DEFAULT '[]';

CREATE TABLE promotion_comments (
    promotion_id TEXT NOT NULL REFERENCES promotions (id),
    number       INTEGER NOT NULL,
    written_by   TEXT NOT NULL,
    comment      TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    PRIMARY KEY (promotion_id, number)
) STRICT, WITHOUT ROWID;

ALTER TABLE stage_history ADD COLUMN cause2 TEXT NOT NULL DEFAULT 'registration'
    CHECK (cause2 IN ('registration', 'promotion', 'replaced', 'rollback', 'rolled_back', 'retirement'));
UPDATE stage_history SET cause2 = cause;
ALTER TABLE stage_history DROP COLUMN cause;
ALTER TABLE stage_history RENAME COLUMN cause2 TO cause;

-- The key lets an environment hold one version.
CREATE TABLE model_environments (
    model       TEXT NOT NULL,
    environment TEXT NOT NULL,
    version     TEXT NOT NULL,
    set_by      TEXT NOT NULL,
    set_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (model, environment),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;

-- Who held an environment or an alias when: a row per change, version null when it became empty.
CREATE TABLE place_history (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    model        TEXT NOT NULL,
    kind         TEXT NOT NULL CHECK (kind IN ('environment', 'alias')),
    place        TEXT NOT NULL,
    version      TEXT,
    was          TEXT,
    reason       TEXT NOT NULL,
    changed_by   TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    promotion_id TEXT
) STRICT;
CREATE INDEX place_history_place ON place_history (model, kind, place, seq);
INSERT INTO place_history (model, kind, place, version, was, reason, changed_by, at_ms)
    SELECT model, 'alias', alias, version, NULL, 'set before the history of aliases was kept', set_by, set_at_ms FROM model_aliases ORDER BY set_at_ms, model, alias;

CREATE TABLE version_deprecations (
    model          TEXT NOT NULL,
    version        TEXT NOT NULL,
    reason         TEXT NOT NULL,
    end_of_life_ms INTEGER,
    replacement    TEXT,
    deprecated_by  TEXT NOT NULL,
    at_ms          INTEGER NOT NULL,
    PRIMARY KEY (model, version),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE retirement_steps (
    model   TEXT NOT NULL,
    version TEXT NOT NULL,
    step    TEXT NOT NULL CHECK (step IN ('notice', 'migration', 'archive', 'deletion')),
    comment TEXT NOT NULL,
    done_by TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (model, version, step),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE version_checklist (
    model     TEXT NOT NULL,
    version   TEXT NOT NULL,
    item      TEXT NOT NULL,
    note      TEXT NOT NULL,
    ticked_by TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    PRIMARY KEY (model, version, item),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;

-- Copies of versions on servers of other environments, seen from either end.
CREATE TABLE version_copies (
    model     TEXT NOT NULL,
    version   TEXT NOT NULL,
    direction TEXT NOT NULL CHECK (direction IN ('from', 'to')),
    server    TEXT NOT NULL,
    manifest  TEXT NOT NULL,
    passport_sha256 TEXT,
    copied_by TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    PRIMARY KEY (model, version, direction, server),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
) STRICT, WITHOUT ROWID;
