"""One module a kind of job: its params."""
