"""Loading of settings: files, environment variables, secret files, error messages."""
