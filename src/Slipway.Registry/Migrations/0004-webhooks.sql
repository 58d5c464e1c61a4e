CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    description   TEXT,
    url           TEXT NOT NULL,
    events        TEXT NOT NULL,
    secret        TEXT,
    status        TEXT NOT NULL CHECK (status IN ('ACTIVE', 'DISABLED')),
    created_by    TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is still to be sent, and for a while what was: sent again after a crash, so that each arrives at least once.
CREATE TABLE webhook_deliveries (
    id           TEXT PRIMARY KEY,
    webhook_id   TEXT NOT NULL REFERENCES webhooks (id),
    body         TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts     INTEGER NOT NULL,
    due_at_ms    INTEGER NOT NULL,
    last_answer  TEXT,
    made_at_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (state, due_at_ms);
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id);
