"""What the API and the worker both use; no FastAPI, no torch."""
