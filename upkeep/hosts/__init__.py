"""Reaching a machine, asking it and changing it."""
