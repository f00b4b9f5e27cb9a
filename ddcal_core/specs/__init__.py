"""What each computation can be asked: names, units, ranges, defaults, sources. No torch here."""
