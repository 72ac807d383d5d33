"""Telemetry: events, logs, metrics and traces."""
