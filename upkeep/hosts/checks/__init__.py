"""What is asked of a host, one module a subject; every finding has a stable dotted id."""

from upkeep.domain.failure import FailureClass
from upkeep.domain.finding import Finding

_ENVIRONMENT = ("host.disk", "host.mount", "host.memory", "host.load", "host.clock", "net.")


def failure_class_of(finding: Finding) -> FailureClass:
    """How a host that this finding keeps from being changed is counted."""
    return FailureClass.ENVIRONMENT if finding.check.startswith(_ENVIRONMENT) else FailureClass.PRECHECK
