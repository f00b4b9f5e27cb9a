"""Results in the formats of other libraries: the same bytes each time they are written."""
