"""What `make bench` measures: this server beside its peers, on the same images, in one run."""
