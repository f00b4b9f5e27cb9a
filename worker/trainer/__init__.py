"""The side that computes: one process, one job; no database, no broker."""
