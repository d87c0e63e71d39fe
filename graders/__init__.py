"""Graders: verifiers that see a whole group, and may ask a model. They return the same `Verdict`."""

from graders.endpoint import Endpoint as Endpoint
from graders.endpoint import EndpointError as EndpointError
from graders.equivalence import Equivalence as Equivalence
from graders.types import Grader as Grader
