"""Worker processes, which decode and encode images in a sandbox."""
