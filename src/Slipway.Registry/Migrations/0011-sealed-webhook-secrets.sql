-- Encrypted, with a key that is not in the database. What stands in "secret" is from before; the server moves it here when it starts.
ALTER TABLE webhooks ADD COLUMN sealed_secret TEXT;
