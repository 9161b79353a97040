"""Reports people open in a browser: one file each, with nothing to fetch from elsewhere."""
