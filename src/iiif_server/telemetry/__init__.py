"""What the floors above and below tell whoever watches: one frozen record an occurrence."""
