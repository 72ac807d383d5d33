"""Source `lookup`: finds originals in a table, a database or an HTTP service."""
