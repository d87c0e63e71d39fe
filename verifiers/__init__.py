"""Verifiers: pure functions from (problem, completion) to a verdict."""

from verifiers.contract import Finding as Finding
from verifiers.contract import Report as Report
from verifiers.contract import check as check
from verifiers.mathematics import MathOptions as MathOptions
from verifiers.mathematics import equivalent as equivalent
from verifiers.mathematics import math as math
from verifiers.plain import exact as exact
from verifiers.plain import number as number
from verifiers.plugins import load as load
from verifiers.pool import Pool as Pool
from verifiers.programs import code as code
from verifiers.types import Outcome as Outcome
from verifiers.types import Problem as Problem
from verifiers.types import Verdict as Verdict
from verifiers.types import Verifier as Verifier
