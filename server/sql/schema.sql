-- The whole truth of a farm. Times are seconds since 1970 UTC, sizes bytes, ids 128 random bits in hex (task: uuid).

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE tasks (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,          -- order of arrival
  id          TEXT NOT NULL UNIQUE,
  owner       TEXT NOT NULL,                              -- id of the token that submitted it
  kind        TEXT NOT NULL,
  name        TEXT NOT NULL,
  spec        TEXT NOT NULL,                              -- TaskSpec, JSON
  needs       TEXT NOT NULL DEFAULT '{}',                 -- Needs of a job, the kind's own included, JSON
  allow       TEXT NOT NULL DEFAULT 'render',             -- what a node's owner must allow
  bundle      TEXT NOT NULL,                              -- digest of the manifest
  bundle_size INTEGER NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('queued', 'running', 'stitching', 'completed', 'failed', 'canceled')),
  priority    INTEGER NOT NULL,
  run         INTEGER NOT NULL DEFAULT 0,                 -- number of the run in work or last done; 0: none yet
  created     REAL NOT NULL,
  queued      REAL NOT NULL,                              -- when it last entered the queue
  started     REAL,
  ended       REAL,
  error       TEXT NOT NULL DEFAULT '',
  notes       TEXT NOT NULL DEFAULT '[]',                 -- list of sentences, JSON
  fetched     REAL,                                       -- when its owner last asked for the assets
  fresh       INTEGER NOT NULL DEFAULT 0,                 -- what runs up to this one have made is not taken over
  published   TEXT NOT NULL DEFAULT '',                   -- folder of its assets below the results of its shared root
  CHECK ((ended IS NOT NULL) = (state IN ('completed', 'failed', 'canceled')))
) STRICT;
CREATE INDEX tasks_state ON tasks (state, priority, seq);
CREATE INDEX tasks_owner ON tasks (owner, seq);

CREATE TABLE runs (
  task    TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  number  INTEGER NOT NULL CHECK (number > 0),
  farm    TEXT NOT NULL,                                  -- FarmShape, JSON: a repeated split sees the same
  program TEXT NOT NULL,                                  -- the one version that serves this run
  spec    TEXT NOT NULL,                                  -- TaskSpec as examined and settled, JSON
  stage   INTEGER NOT NULL DEFAULT 0,                     -- the one in work; all before it are stitched
  version INTEGER NOT NULL DEFAULT 0,                     -- the kind's, when it split
  created REAL NOT NULL,
  stages  INTEGER NOT NULL DEFAULT 1,                     -- how many there are; known once the first is split
  needs   TEXT NOT NULL DEFAULT '{}',                     -- Needs of a job of the settled spec, JSON
  PRIMARY KEY (task, number)
) STRICT;

CREATE TABLE stages (
  task        TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  run         INTEGER NOT NULL,
  stage       INTEGER NOT NULL,
  name        TEXT NOT NULL DEFAULT '',                   -- empty: not split yet
  bundle      TEXT NOT NULL,                              -- manifest of the files that it works on: the task's and stages/...
  bundle_size INTEGER NOT NULL,
  streams     INTEGER NOT NULL DEFAULT 0,                 -- its stitch may begin with its jobs
  taken       INTEGER NOT NULL DEFAULT 0,                 -- jobs whose pieces an earlier run had made
  begun       REAL,                                       -- when its jobs were there
  PRIMARY KEY (task, run, stage)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  id       TEXT PRIMARY KEY,
  task     TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  run      INTEGER NOT NULL,
  stage    INTEGER NOT NULL,
  position INTEGER NOT NULL,                              -- in split order
  region   TEXT NOT NULL,                                 -- Region, JSON
  name     TEXT NOT NULL,                                 -- the region's
  state    TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'canceled')),
  accepted TEXT REFERENCES attempts (lease),              -- of this job, or of one with the same key in an earlier run
  turn     INTEGER NOT NULL DEFAULT 0,                    -- lower ones are leased first
  key      TEXT NOT NULL DEFAULT '',                      -- digest of all that the outputs depend on
  UNIQUE (task, run, stage, position),
  CHECK ((state = 'done') = (accepted IS NOT NULL))       -- done is: exactly one result is accepted
) STRICT;
CREATE INDEX jobs_open ON jobs (task, run, stage, state);
CREATE INDEX jobs_accepted ON jobs (accepted) WHERE accepted IS NOT NULL;  -- else each attempt that goes with its task looks through all jobs

CREATE TABLE attempts (
  lease       TEXT PRIMARY KEY,
  job         TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  number      INTEGER NOT NULL,
  node        TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  slot        INTEGER NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('leased', 'verifying', 'accepted', 'rejected', 'returned', 'lost', 'failed', 'canceled')),
  cause       TEXT NOT NULL DEFAULT '',
  started     REAL NOT NULL,
  ended       REAL,
  sentence    TEXT NOT NULL DEFAULT '',
  exit_code   INTEGER,
  tail        TEXT NOT NULL DEFAULT '[]',                 -- last lines of the program, JSON
  seconds     REAL,                                       -- as the node measured
  UNIQUE (job, number),
  CHECK ((ended IS NULL) = (state IN ('leased', 'verifying')))
) STRICT;
CREATE INDEX attempts_live ON attempts (node, incarnation) WHERE state IN ('leased', 'verifying');

CREATE TABLE outputs (
  lease  TEXT NOT NULL REFERENCES attempts (lease) ON DELETE CASCADE,
  path   TEXT NOT NULL,
  size   INTEGER NOT NULL,
  digest TEXT NOT NULL,
  data   BLOB,                                            -- small outputs; NULL: a pack
  PRIMARY KEY (lease, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX outputs_digest ON outputs (digest) WHERE data IS NULL;

CREATE TABLE assets (
  task   TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  run    INTEGER NOT NULL,
  path   TEXT NOT NULL,
  size   INTEGER NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (task, run, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE task_packs (
  task   TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  digest TEXT NOT NULL,
  size   INTEGER NOT NULL,
  run    INTEGER NOT NULL DEFAULT 0,                      -- made by a stage of this run; 0: the task's own
  PRIMARY KEY (task, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE owner_packs (                                -- a pack counts as present only for owners who have sent it
  owner  TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (owner, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
  id      TEXT PRIMARY KEY,
  owner   TEXT NOT NULL,
  touched REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session_packs (                              -- pinned until submit, or until the session is too old
  session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  digest  TEXT NOT NULL,
  size    INTEGER NOT NULL,
  PRIMARY KEY (session, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL,
  token    TEXT NOT NULL,                                 -- hash of the node's own token
  info     TEXT NOT NULL,                                 -- NodeInfo of its last hello, JSON
  first    REAL NOT NULL,
  seen     REAL NOT NULL,
  locked   INTEGER NOT NULL DEFAULT 0,
  draining INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at      REAL NOT NULL,
  subject TEXT NOT NULL CHECK (subject IN ('task', 'job', 'attempt', 'node')),
  task    TEXT NOT NULL DEFAULT '',
  job     TEXT NOT NULL DEFAULT '',
  lease   TEXT NOT NULL DEFAULT '',
  node    TEXT NOT NULL DEFAULT '',
  old     TEXT NOT NULL,
  new     TEXT NOT NULL,
  cause   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX events_task ON events (task, id);
