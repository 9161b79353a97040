"""The web application: tickets in, approvals, and the history to read."""
