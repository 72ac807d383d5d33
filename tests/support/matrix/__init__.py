"""Originals of every kind that is read, written without the libraries that read them.

Each shows the same chart, and `test_matrix.py` measures its patches in the answers of the server.
"""
