"""A small ticket system to try change tickets on: it keeps state, signs people in, pages, limits, and sends webhooks."""
