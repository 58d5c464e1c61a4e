-- A search that names a parameter or a tag starts from the few runs that have it, not from all runs. Only the beginning of a value is
-- kept in the index, since values may be longer than an index may hold.
CREATE INDEX params_by_value ON params (key, substr(value, 1, 200), run);
CREATE INDEX tags_by_value ON tags (key, substr(value, 1, 200), run);
