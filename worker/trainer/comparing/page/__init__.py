"""The page of a comparison: one self-contained file, as a report's."""
