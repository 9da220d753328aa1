-- Every statement that the farm runs, by name. One store method or ledger verb uses each.

-- name: meta
SELECT value FROM meta WHERE key = :key;
-- name: set_meta
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: event
INSERT INTO events (at, subject, task, job, lease, node, old, new, cause) VALUES (:at, :subject, :task, :job, :lease, :node, :old, :new, :cause);
-- name: leased_events
INSERT INTO events (at, subject, task, job, lease, node, old, new)
VALUES (:now, 'job', :task, :job, '', '', 'queued', 'running'), (:now, 'attempt', :task, :job, :lease, :node, '', 'leased');
-- name: accepted_events
INSERT INTO events (at, subject, task, job, lease, node, old, new) VALUES
  (:now, 'attempt', :task, :job, :lease, :node, 'leased', 'verifying'),
  (:now, 'attempt', :task, :job, :lease, :node, 'verifying', 'accepted'),
  (:now, 'job', :task, :job, :lease, :node, 'running', 'done');
-- name: last_event
SELECT coalesce(max(id), 0) AS id FROM events;
-- name: last_event_of_task
SELECT coalesce(max(id), 0) AS id FROM events WHERE task = :task;
-- name: events_of_task
SELECT * FROM events WHERE task = :task ORDER BY id;
-- name: warned_at
SELECT min(at) AS at FROM events WHERE task = :task AND subject = 'task' AND new = 'warned' AND at >= :since;
-- name: forget_events
DELETE FROM events WHERE at < :before AND task NOT IN (SELECT id FROM tasks WHERE state IN ('queued', 'running', 'stitching'));

-- name: add_task
INSERT INTO tasks (id, owner, kind, name, spec, needs, allow, bundle, bundle_size, state, priority, created, queued, notes)
VALUES (:id, :owner, :kind, :name, :spec, :needs, :allow, :bundle, :bundle_size, 'queued', :priority, :now, :now, :notes);
-- name: task
SELECT * FROM tasks WHERE id = :id;
-- name: tasks_like
SELECT * FROM tasks WHERE id >= :start AND id < :start || 'g' AND (owner = :owner OR :owner = '') ORDER BY id LIMIT 2;
-- name: task_page
SELECT * FROM tasks
WHERE seq < :before AND (owner = :owner OR :owner = '') AND (NOT :live OR state IN ('queued', 'running', 'stitching'))
ORDER BY seq DESC LIMIT :limit;
-- name: tasks_in
SELECT * FROM tasks WHERE state = :state ORDER BY priority DESC, queued, seq;
-- name: task_counts
SELECT state, count(*) AS n FROM tasks GROUP BY state;
-- name: ended_before
SELECT id, name, state, fetched, ended FROM tasks WHERE state = :state AND ended < :before;
-- name: task_state
UPDATE tasks SET state = :state, ended = :ended, error = :error WHERE id = :id;
-- name: task_claimed
UPDATE tasks SET state = 'running', run = :run, started = :now, ended = NULL, error = '' WHERE id = :id;
-- name: task_requeued
UPDATE tasks SET state = 'queued', queued = :now, started = NULL, ended = NULL, fetched = NULL, error = '', published = '',
  fresh = CASE WHEN :fresh THEN run ELSE fresh END
WHERE id = :id;
-- name: task_notes
UPDATE tasks SET notes = :notes WHERE id = :id;
-- name: task_spec
UPDATE tasks SET spec = :spec, needs = :needs, allow = :allow WHERE id = :id;
-- name: task_bundle
UPDATE tasks SET bundle = :bundle, bundle_size = :bundle_size WHERE id = :id;
-- name: task_published
UPDATE tasks SET published = :published WHERE id = :id;
-- name: task_priority
UPDATE tasks SET priority = :priority WHERE id = :id;
-- name: task_fetched
UPDATE tasks SET fetched = :now WHERE id = :id;
-- name: remove_task
DELETE FROM tasks WHERE id = :id;

-- name: add_run
INSERT INTO runs (task, number, farm, program, spec, needs, created) VALUES (:task, :number, :farm, :program, :spec, :needs, :now);
-- name: run
SELECT r.*, s.name AS stage_name, s.bundle, s.bundle_size, s.streams, s.taken, s.begun
FROM runs AS r JOIN stages AS s ON s.task = r.task AND s.run = r.number AND s.stage = r.stage
WHERE r.task = :task AND r.number = :number;
-- name: run_spec
UPDATE runs SET spec = :spec, needs = :needs, version = :version, stages = :stages WHERE task = :task AND number = :number;
-- name: run_stage
UPDATE runs SET stage = :stage WHERE task = :task AND number = :number;
-- name: add_stage
INSERT INTO stages (task, run, stage, bundle, bundle_size) VALUES (:task, :run, :stage, :bundle, :bundle_size);
-- name: stage_split
UPDATE stages SET name = :name, streams = :streams, taken = :taken, begun = :now WHERE task = :task AND run = :run AND stage = :stage;
-- name: stage_of_run
SELECT * FROM stages WHERE task = :task AND run = :run AND stage = :stage;
-- name: stages_of_task
SELECT name, stage FROM stages WHERE task = :task ORDER BY run, stage;
-- name: forget_keys
UPDATE jobs SET key = '' WHERE task = :task AND stage >= :stage;
-- name: stage_outlook
SELECT EXISTS (SELECT 1 FROM stages WHERE task = :task AND run = :run AND stage = :stage AND begun IS NOT NULL)
       OR EXISTS (SELECT 1 FROM jobs WHERE task = :task AND run = :run AND stage = :stage) AS split,
       EXISTS (SELECT 1 FROM jobs WHERE task = :task AND run = :run AND stage = :stage AND state IN ('queued', 'running')) AS open;

-- name: add_job
INSERT INTO jobs (id, task, run, stage, position, region, name, turn, key, state)
VALUES (:id, :task, :run, :stage, :position, :region, :name, :turn, :key, 'queued');
-- name: add_taken_job
INSERT INTO jobs (id, task, run, stage, position, region, name, turn, key, state, accepted)
VALUES (:id, :task, :run, :stage, :position, :region, :name, :turn, :key, 'done', :accepted);
-- name: taken_event
INSERT INTO events (at, subject, task, job, lease, node, old, new, cause)
SELECT :at, 'job', :task, :id, lease, node, '', 'done', 'taken over' FROM attempts WHERE lease = :accepted;
-- name: made_before
SELECT j.key, j.accepted, o.digest FROM jobs AS j LEFT JOIN outputs AS o ON o.lease = j.accepted AND o.data IS NULL
WHERE j.task = :task AND j.key <> '' AND j.state = 'done' AND j.run > :after AND j.run < :run;
-- name: job
SELECT * FROM jobs WHERE id = :id;
-- name: leasable
SELECT j.id, j.task, j.position, j.region FROM json_each(:ids) AS wanted JOIN jobs AS j ON j.id = wanted.value
JOIN tasks AS t ON t.id = j.task AND t.run = j.run WHERE j.state = 'queued' AND t.state = 'running' ORDER BY wanted.key;
-- name: outlook
SELECT t.state, t.run = :run AS current, EXISTS
  (SELECT 1 FROM jobs WHERE task = :task AND run = :run AND stage = :stage AND state IN ('queued', 'running')) AS open
FROM tasks AS t WHERE t.id = :task;
-- name: jobs_queued
SELECT id, region FROM jobs WHERE task = :task AND run = :run AND state = 'queued' ORDER BY stage, turn, position;
-- name: jobs_unfinished
SELECT id, state FROM jobs WHERE task = :task AND run = :run AND state IN ('queued', 'running');
-- name: job_counts
SELECT count(*) AS total, coalesce(sum(state = 'done'), 0) AS done, coalesce(sum(state = 'running'), 0) AS running,
       coalesce(sum(state = 'failed'), 0) AS failed, coalesce(sum(state = 'queued'), 0) AS queued,
       coalesce(sum(stage = :stage), 0) AS here, coalesce(sum(stage = :stage AND state = 'done'), 0) AS done_here
FROM jobs WHERE task = :task AND run = :run;
-- name: work_of_stage
SELECT total(weight) AS here, total(weight * done) AS done, total(weight * taken) AS taken FROM (
  SELECT coalesce(json_extract(j.region, '$.weight'), 1.0) AS weight, j.state = 'done' AS done, coalesce(a.job <> j.id, 0) AS taken
  FROM jobs AS j LEFT JOIN attempts AS a ON a.lease = j.accepted WHERE j.task = :task AND j.run = :run AND j.stage = :stage);
-- name: weight_of_job
SELECT coalesce(json_extract(region, '$.weight'), 1.0) AS weight FROM jobs WHERE id = :job;
-- name: job_page
SELECT j.*, s.name AS stage_name FROM jobs AS j LEFT JOIN stages AS s ON s.task = j.task AND s.run = j.run AND s.stage = j.stage
WHERE j.task = :task AND j.run = :run ORDER BY j.stage, j.position LIMIT :limit OFFSET :after;
-- name: job_named
SELECT * FROM jobs WHERE task = :task AND run = :run AND (id = :job OR name = :job) LIMIT 1;
-- name: job_state
UPDATE jobs SET state = :state WHERE id = :id;
-- name: accept
UPDATE jobs SET accepted = :lease, state = 'done' WHERE id = :job AND accepted IS NULL AND state = 'running';
-- name: pieces
SELECT j.position, j.name, j.region, j.state, j.accepted, coalesce(a.seconds, 0.0) AS seconds, coalesce(n.name, a.node, '') AS node
FROM jobs AS j LEFT JOIN attempts AS a ON a.lease = j.accepted LEFT JOIN nodes AS n ON n.id = a.node
WHERE j.task = :task AND j.run = :run AND j.stage = :stage AND j.position >= :after ORDER BY j.position LIMIT :limit;

-- name: add_attempt
INSERT INTO attempts (lease, job, number, node, incarnation, slot, state, started)
VALUES (:lease, :job, (SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE job = :job), :node, :incarnation, :slot, 'leased', :now)
RETURNING number;
-- name: attempt
SELECT a.*, j.task, j.run, j.stage, j.region, j.state AS job_state FROM attempts AS a JOIN jobs AS j ON j.id = a.job WHERE a.lease = :lease;
-- name: attempts
SELECT a.*, j.task, j.run, j.stage, j.region, j.state AS job_state FROM json_each(:leases) AS wanted JOIN attempts AS a ON a.lease = wanted.value
JOIN jobs AS j ON j.id = a.job;
-- name: attempt_state
UPDATE attempts SET state = :state, cause = :cause, ended = :ended, sentence = :sentence, exit_code = :exit_code, tail = :tail, seconds = :seconds
WHERE lease = :lease;
-- name: attempt_accepted
UPDATE attempts SET state = 'accepted', ended = :now, seconds = :seconds WHERE lease = :lease AND state = 'leased';
-- name: attempts_live
SELECT a.lease, a.number, a.node, a.incarnation, a.slot, a.state, a.job, j.task, j.run, j.position FROM attempts AS a JOIN jobs AS j ON j.id = a.job
WHERE a.state IN ('leased', 'verifying');
-- name: attempts_of_incarnation
SELECT lease, job FROM attempts WHERE state = 'leased' AND node = :node AND incarnation = :incarnation;
-- name: attempts_of_older
SELECT lease, job FROM attempts WHERE state = 'leased' AND node = :node AND incarnation <> :incarnation;
-- name: attempts_of_slot
SELECT lease, job FROM attempts WHERE state = 'leased' AND node = :node AND incarnation = :incarnation AND slot = :slot;
-- name: attempts_of_job
SELECT a.*, coalesce(n.name, a.node) AS node_name FROM attempts AS a LEFT JOIN nodes AS n ON n.id = a.node WHERE a.job = :job
UNION ALL SELECT a.*, coalesce(n.name, a.node) AS node_name FROM jobs AS j JOIN attempts AS a ON a.lease = j.accepted
LEFT JOIN nodes AS n ON n.id = a.node WHERE j.id = :job AND a.job <> :job
ORDER BY 3;
-- name: live_of_job
SELECT lease FROM attempts WHERE job = :job AND state IN ('leased', 'verifying');
-- name: attempts_of_run
SELECT a.lease, a.number, a.node, a.state, j.position, j.id AS job, j.name FROM attempts AS a JOIN jobs AS j ON j.id = a.job
WHERE j.task = :task AND j.run = :run ORDER BY a.started, a.number;
-- name: tried_nodes
SELECT DISTINCT node FROM attempts WHERE job = :job;
-- name: tried_nodes_of_run
SELECT DISTINCT a.job, a.node FROM attempts AS a JOIN jobs AS j ON j.id = a.job WHERE j.task = :task AND j.run = :run AND j.state = 'queued';
-- name: failures_of_job
SELECT count(*) AS n FROM attempts WHERE job = :job AND (state = 'rejected' OR state = 'failed' AND cause IN ('error', 'timeout', 'stall', 'memory'));
-- name: silent_nodes_of_job
SELECT count(DISTINCT node) AS n FROM attempts WHERE job = :job AND state = 'lost' AND cause = 'silent';
-- name: nodes_at_work
SELECT count(DISTINCT a.node) AS n FROM attempts AS a JOIN jobs AS j ON j.id = a.job
WHERE j.task = :task AND j.run = :run AND a.state IN ('leased', 'verifying');

-- name: add_output
INSERT INTO outputs (lease, path, size, digest, data) VALUES (:lease, :path, :size, :digest, :data);
-- name: outputs
SELECT path, size, digest, data FROM outputs WHERE lease = :lease ORDER BY path;

-- name: add_asset
INSERT INTO assets (task, run, path, size, digest) VALUES (:task, :run, :path, :size, :digest);
-- name: assets
SELECT path, size, digest FROM assets WHERE task = :task AND run = :run ORDER BY path LIMIT :limit OFFSET :after;
-- name: asset_sum
SELECT count(*) AS n, coalesce(sum(size), 0) AS size FROM assets WHERE task = :task AND run = :run;
-- name: forget_assets
DELETE FROM assets WHERE task = :task AND run = :run;

-- name: add_task_pack
INSERT INTO task_packs (task, digest, size, run) VALUES (:task, :digest, :size, :run) ON CONFLICT DO NOTHING;
-- name: forget_made_packs
DELETE FROM task_packs WHERE task = :task AND run > 0;
-- name: task_packs
SELECT digest, size FROM task_packs WHERE task = :task;
-- name: own_pack
INSERT INTO owner_packs (owner, digest) VALUES (:owner, :digest) ON CONFLICT DO NOTHING;
-- name: owns_pack
SELECT 1 FROM owner_packs WHERE owner = :owner AND digest = :digest;
-- name: disown_pack
DELETE FROM owner_packs WHERE digest = :digest;
-- name: owned_packs
SELECT DISTINCT digest FROM owner_packs;
-- name: packs_in_use
SELECT digest FROM task_packs UNION SELECT digest FROM session_packs UNION SELECT digest FROM assets
UNION SELECT digest FROM outputs WHERE data IS NULL;

-- name: add_session
INSERT INTO sessions (id, owner, touched) VALUES (:id, :owner, :now);
-- name: session
SELECT * FROM sessions WHERE id = :id;
-- name: touch_session
UPDATE sessions SET touched = :now WHERE id = :id;
-- name: pin
INSERT INTO session_packs (session, digest, size) VALUES (:session, :digest, :size) ON CONFLICT DO NOTHING;
-- name: pinned
SELECT size FROM session_packs WHERE session = :session AND digest = :digest;
-- name: end_session
DELETE FROM sessions WHERE id = :id;
-- name: old_sessions
SELECT id FROM sessions WHERE touched < :before;
-- name: all_sessions
SELECT id FROM sessions;

-- name: add_node
INSERT INTO nodes (id, name, token, info, first, seen) VALUES (:id, :name, :token, :info, :now, :now);
-- name: node
SELECT * FROM nodes WHERE id = :id;
-- name: nodes
SELECT * FROM nodes ORDER BY name, id;
-- name: node_seen
UPDATE nodes SET name = :name, info = :info, seen = :now WHERE id = :id;
-- name: node_locked
UPDATE nodes SET locked = :locked WHERE id = :id;
-- name: node_draining
UPDATE nodes SET draining = :draining WHERE id = :id;
-- name: remove_node
DELETE FROM nodes WHERE id = :id;

-- name: preview_progress
SELECT t.name, t.state, t.run, t.kind, r.stage, (SELECT count(*) FROM jobs WHERE task = t.id AND run = t.run AND stage = r.stage AND state = 'done') AS done
FROM tasks AS t LEFT JOIN runs AS r ON r.task = t.id AND r.number = t.run WHERE t.id = :task;
-- name: preview_pieces
SELECT j.region, j.accepted, coalesce(a.seconds, 0.0) AS seconds, coalesce(n.name, a.node, '') AS node
FROM jobs AS j LEFT JOIN attempts AS a ON a.lease = j.accepted LEFT JOIN nodes AS n ON n.id = a.node
WHERE j.task = :task AND j.run = :run AND j.stage = :stage ORDER BY j.position;
