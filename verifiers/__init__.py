"""Verifiers: pure functions from (problem, completion) to a verdict."""

from verifiers.types import Outcome as Outcome
from verifiers.types import Problem as Problem
from verifiers.types import Verdict as Verdict
from verifiers.types import Verifier as Verifier
