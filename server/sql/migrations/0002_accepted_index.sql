CREATE INDEX jobs_accepted ON jobs (accepted) WHERE accepted IS NOT NULL;
