"""Bulk work: one task for each identifier, on this machine or on a Dask cluster."""
