"""Shared cache: object storage as a second tier, which all replicas of a server read and write."""
