"""What `iiif-server migrate` does: the configuration of another server as settings of this one."""
