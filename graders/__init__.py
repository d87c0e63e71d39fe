"""Graders: verifiers that see a whole group, and may ask a model. They return the same `Verdict`."""

from graders.types import Grader as Grader
