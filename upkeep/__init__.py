"""Upkeep: maintenance runbooks for fleets of Linux hosts that leave evidence."""

__version__ = "0.1.0"
