"""Rehearsals: the real run engine against a simulated fleet, in seconds, touching no host."""
