"""Verifiers: pure functions from (problem, completion) to a verdict."""

from verifiers.composition import all_of as all_of
from verifiers.composition import any_of as any_of
from verifiers.composition import fallback as fallback
from verifiers.composition import gate as gate
from verifiers.composition import penalty as penalty
from verifiers.composition import product as product
from verifiers.composition import repeated as repeated
from verifiers.composition import route as route
from verifiers.composition import too_long as too_long
from verifiers.composition import weighted as weighted
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
