-- Edges between small numbers instead of names: a tenth of the bytes per step, so that a walk over thousands of nodes stays in memory.
CREATE TABLE lineage_nodes (
    id   INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;
INSERT INTO lineage_nodes (kind, name)
SELECT from_kind, from_id FROM lineage_edges UNION SELECT to_kind, to_id FROM lineage_edges ORDER BY 1, 2;

ALTER TABLE lineage_edges RENAME TO lineage_edges_by_name;
DROP INDEX lineage_edges_to;
-- Nodes are never deleted and edges written by one method, so that a foreign key would only cost: two more look-ups per edge.
CREATE TABLE lineage_edges (
    from_node     INTEGER NOT NULL,
    relation      TEXT NOT NULL,
    to_node       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (from_node, relation, to_node)
) STRICT, WITHOUT ROWID;
-- Both directions are answered from an index alone.
CREATE INDEX lineage_edges_to ON lineage_edges (to_node, relation, from_node);
INSERT INTO lineage_edges (from_node, relation, to_node, created_at_ms)
SELECT f.id,
       CASE WHEN e.relation <> 'built_from' THEN e.relation WHEN e.to_kind = 'training_set' THEN 'drawn_from' WHEN e.to_kind = 'run' THEN 'trained_on' ELSE e.relation END,
       t.id, e.created_at_ms
  FROM lineage_edges_by_name e JOIN lineage_nodes f ON f.kind = e.from_kind AND f.name = e.from_id JOIN lineage_nodes t ON t.kind = e.to_kind AND t.name = e.to_id;
DROP TABLE lineage_edges_by_name;

-- Edges that are new with this schema, for what was there before: straight from data and views to the versions made from them, and
-- from a version to its model.
INSERT INTO lineage_edges (from_node, relation, to_node, created_at_ms)
SELECT used.from_node, 'feeds', made.to_node, made.created_at_ms
  FROM lineage_edges made
  JOIN lineage_edges training ON training.to_node = made.from_node AND training.relation = 'trained_on'
  JOIN lineage_edges used ON used.to_node = training.from_node AND used.relation IN ('drawn_from', 'defined_by')
 WHERE made.relation = 'produced_by'
UNION
SELECT used.from_node, 'feeds', made.to_node, made.created_at_ms
  FROM lineage_edges made
  JOIN lineage_edges used ON used.to_node = made.from_node AND used.relation IN ('trained_on', 'defined_by')
  JOIN lineage_nodes thing ON thing.id = used.from_node AND thing.kind IN ('dataset_version', 'feature_view')
 WHERE made.relation = 'produced_by'
ON CONFLICT DO NOTHING;
INSERT INTO lineage_nodes (kind, name)
SELECT DISTINCT 'model', rtrim(rtrim(name, '0123456789.'), '@') FROM lineage_nodes WHERE kind = 'model_version'
ON CONFLICT DO NOTHING;
INSERT INTO lineage_edges (from_node, relation, to_node, created_at_ms)
SELECT v.id, 'version_of', m.id, (SELECT min(created_at_ms) FROM lineage_edges WHERE to_node = v.id OR from_node = v.id)
  FROM lineage_nodes v JOIN lineage_nodes m ON m.kind = 'model' AND m.name = rtrim(rtrim(v.name, '0123456789.'), '@')
 WHERE v.kind = 'model_version';
