"""From a request to rows: every check that can be made before a job is written."""
