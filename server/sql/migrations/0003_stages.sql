ALTER TABLE tasks ADD COLUMN fresh INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN stages INTEGER NOT NULL DEFAULT 1;
ALTER TABLE runs ADD COLUMN needs TEXT NOT NULL DEFAULT '{}';

ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN key TEXT NOT NULL DEFAULT '';

ALTER TABLE task_packs ADD COLUMN run INTEGER NOT NULL DEFAULT 0;

CREATE TABLE stages (
  task        TEXT NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  run         INTEGER NOT NULL,
  stage       INTEGER NOT NULL,
  name        TEXT NOT NULL DEFAULT '',
  bundle      TEXT NOT NULL,
  bundle_size INTEGER NOT NULL,
  streams     INTEGER NOT NULL DEFAULT 0,
  taken       INTEGER NOT NULL DEFAULT 0,
  begun       REAL,
  PRIMARY KEY (task, run, stage)
) STRICT, WITHOUT ROWID;

-- runs that were made when there was one stage, of the task's own files
INSERT INTO stages (task, run, stage, name, bundle, bundle_size, begun)
SELECT r.task, r.number, r.stage, r.stage_name, t.bundle, t.bundle_size, r.created FROM runs AS r JOIN tasks AS t ON t.id = r.task;
UPDATE runs SET needs = (SELECT needs FROM tasks WHERE id = runs.task);
ALTER TABLE runs DROP COLUMN stage_name;
