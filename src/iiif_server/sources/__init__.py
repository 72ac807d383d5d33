"""Where originals come from. `base.Source` is the seam; everything else is behind it."""
