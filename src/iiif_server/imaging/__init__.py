"""From an original's bytes to a derivative's. Runs in worker processes, but for `plan`."""
