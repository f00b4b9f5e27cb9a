"""Models, distilled sets and pictures in the formats people load."""
