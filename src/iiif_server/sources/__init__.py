"""Sources of originals. `base.Source` is their interface; plug-ins implement it, too."""
