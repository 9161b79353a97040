"""How runbooks are triggered."""
