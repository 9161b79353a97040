"""The runbooks: which steps in which order."""
