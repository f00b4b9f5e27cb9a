"""The whole service as children of one command: broker, API and workers."""
