"""The source `lookup`: a table, database or HTTP service says where an original is."""
