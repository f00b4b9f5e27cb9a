"""What keeps the service going: reconciling, housekeeping, readiness and counts."""
