"""Programs that lab hosts have in place of the real ones."""
