"""Temperatures and other calibrations, how they are fitted, and how they fail."""
