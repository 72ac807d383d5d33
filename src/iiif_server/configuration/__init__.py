"""How settings are read: files, environment variables, secret files, and what errors say."""
