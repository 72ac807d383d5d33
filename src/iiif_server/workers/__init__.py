"""Processes that do what may be slow or dangerous."""
