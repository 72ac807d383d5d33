"""Object stores: how a bucket is reached."""
