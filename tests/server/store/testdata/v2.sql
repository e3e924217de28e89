PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
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
INSERT INTO "clients" VALUES('c1','app/1.0',0,1700000000000000000,1700000000000000000,1,0,8);
CREATE TABLE evaluations (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  loss REAL,      -- NULL: not a number
  accuracy REAL,  -- NULL: not a number
  num_examples INTEGER NOT NULL,
  PRIMARY KEY (job_id, version),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "evaluations" VALUES('mnist',0,0.5,0.75,100);
CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  request_id TEXT UNIQUE,  -- NULL: none
  spec_json TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  submitted_at_ns INTEGER NOT NULL,
  ended_at_ns INTEGER
) STRICT;
INSERT INTO "jobs" VALUES('mnist','r-1','{"name":"mnist"}','running','',1700000000000000000,NULL);
CREATE TABLE journal (
  job_id TEXT NOT NULL REFERENCES jobs (id),
  sequence INTEGER NOT NULL,  -- from 1, without gaps
  line TEXT NOT NULL,
  PRIMARY KEY (job_id, sequence)
) STRICT, WITHOUT ROWID;
INSERT INTO "journal" VALUES('mnist',1,'{"e":1}');
INSERT INTO "journal" VALUES('mnist',2,'{"e":2}');
CREATE TABLE layouts (
  digest BLOB PRIMARY KEY,
  layout_json TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "layouts" VALUES(X'17DEA803EDDE56E8F35D8F13DEF3117FFF47D006E4214CFDC167D5CC62D402EB','{"layout":1,"tensors":[{"name":"w","shape":[2]}]}');
CREATE TABLE state_scalars (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  value REAL,  -- NULL: not a number
  PRIMARY KEY (job_id, version, name),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "state_scalars" VALUES('mnist',0,'step',7.0);
CREATE TABLE state_vectors (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  name TEXT NOT NULL,
  digest BLOB,                                      -- NULL: an empty vector
  layout_digest BLOB REFERENCES layouts (digest),   -- NULL with it
  PRIMARY KEY (job_id, version, name),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "state_vectors" VALUES('mnist',0,'m',X'48943F7A0EA247F8E3C9386D0C5822FE181D323A9289980426638CC4E72A43E1',X'17DEA803EDDE56E8F35D8F13DEF3117FFF47D006E4214CFDC167D5CC62D402EB');
INSERT INTO "state_vectors" VALUES('mnist',0,'none',NULL,NULL);
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
INSERT INTO "versions" VALUES('mnist',0,X'48943F7A0EA247F8E3C9386D0C5822FE181D323A9289980426638CC4E72A43E1',X'17DEA803EDDE56E8F35D8F13DEF3117FFF47D006E4214CFDC167D5CC62D402EB',1700000060000000000,3,'{}',1,1);
CREATE INDEX versions_by_model ON versions (model_digest) WHERE model_kept = 1;
CREATE INDEX state_vectors_by_digest ON state_vectors (digest);
INSERT INTO "versions" VALUES('mnist',1,X'48943F7A0EA247F8E3C9386D0C5822FE181D323A9289980426638CC4E72A43E1',X'17DEA803EDDE56E8F35D8F13DEF3117FFF47D006E4214CFDC167D5CC62D402EB',1700000060000000000,3,'{}',1,1);
CREATE TABLE deltas (
  job_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest BLOB NOT NULL,  -- names the file in deltas/
  bytes INTEGER NOT NULL,
  PRIMARY KEY (job_id, version),
  FOREIGN KEY (job_id, version) REFERENCES versions (job_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX deltas_by_digest ON deltas (digest);
INSERT INTO "deltas" VALUES('mnist',1,X'4F4A9410FFCDF895C4ADB880659E9B5C0DD1F23A30790684340B3EAACB045398',5);
COMMIT;
PRAGMA user_version = 2;
