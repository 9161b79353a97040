"""A fleet on this machine to try everything on."""
