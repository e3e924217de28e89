-- Version 1 of the store's schema; docs/store_format.md explains it. Published: never edit
-- it, add a migration. Times are nanoseconds since 1970-01-01T00:00:00Z. Digests are SHA-256.
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  request_id TEXT UNIQUE,  -- NULL: none
  spec_json TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  submitted_at_ns INTEGER NOT NULL,
  ended_at_ns INTEGER
) STRICT;

CREATE TABLE layouts (
  digest BLOB PRIMARY KEY,
  layout_json TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
  job_id TEXT NOT NULL REFERENCES jobs (id),
  version INTEGER NOT NULL,
  model_digest BLOB NOT NULL,  -- names the file in params/
  layout_digest BLOB NOT NULL REFERENCES layouts (digest),
  published_at_ns INTEGER NOT NULL,
  updates INTEGER NOT NULL,
  stats_json TEXT NOT NULL,
  model_kept INTEGER NOT NULL,  -- 1: the file is there; 0: pruned
  state_kept INTEGER NOT NULL,  -- 1: state_vectors and state_scalars are complete; 0: pruned
  PRIMARY KEY (job_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_by_model ON versions (model_digest) WHERE model_kept = 1;

CREATE TABLE evaluations (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  loss REAL,      -- NULL: not a number
  accuracy REAL,  -- NULL: not a number
  num_examples INTEGER NOT NULL,
  PRIMARY KEY (job_id, version),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;

-- The aggregation pipeline's state, of the newest versions.
CREATE TABLE state_vectors (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  digest BLOB,                                      -- NULL: an empty vector
  layout_digest BLOB REFERENCES layouts (digest),   -- NULL with it
  PRIMARY KEY (job_id, version, name),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX state_vectors_by_digest ON state_vectors (digest);

CREATE TABLE state_scalars (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  value REAL,  -- NULL: not a number
  PRIMARY KEY (job_id, version, name),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
  job_id TEXT NOT NULL REFERENCES jobs (id),
  sequence INTEGER NOT NULL,  -- from 1, without gaps
  line TEXT NOT NULL,
  PRIMARY KEY (job_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
  id TEXT PRIMARY KEY,
  user_agent TEXT NOT NULL,
  evaluate_only INTEGER NOT NULL,
  enrolled_at_ns INTEGER NOT NULL,
  last_seen_at_ns INTEGER NOT NULL,
  updates INTEGER NOT NULL,
  lost INTEGER NOT NULL,
  uplink_bytes INTEGER NOT NULL
) STRICT;
