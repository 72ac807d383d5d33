"""Loading of settings from files, environment variables and secret files, with error messages."""
