"""Outside systems over HTTP, and what they hand out."""
