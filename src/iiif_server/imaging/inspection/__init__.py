"""What a file claims, read in plain Python and within bounds, before any decoder believes it."""
