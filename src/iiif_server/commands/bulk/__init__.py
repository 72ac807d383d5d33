"""Bulk work: one task per identifier, on this machine or on a Dask cluster."""
