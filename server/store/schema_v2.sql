-- From version 1 to version 2. Published: never edit it, add a migration.
-- What makes a version of the one before it, for clients that hold that.
CREATE TABLE deltas (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest BLOB NOT NULL,  -- names the file in deltas/
  bytes INTEGER NOT NULL,
  PRIMARY KEY (job_id, version),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX deltas_by_digest ON deltas (digest);
