"""The history: append-only events and what is read from them."""
