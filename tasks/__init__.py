"""One host, one repeatable step: the unit of retry and of audit."""
