"""Keeping what was made: a bounded store of files, and one flight per piece of work."""
