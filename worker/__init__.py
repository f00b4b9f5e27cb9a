"""The worker: a supervisor without torch, and the trainer it starts for each job."""
