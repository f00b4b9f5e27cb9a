"""The service: HTTP, the job engine's records, the command line."""
