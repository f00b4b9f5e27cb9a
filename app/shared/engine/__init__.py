"""What moves a job: its states, its runs, its doorbell and its recipes."""
