"""Measurements, each a command: ratios taken side by side in one run, never a timed test."""
