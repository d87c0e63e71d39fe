"""Shows a verifier of one's own: a plain function, which needs nothing but Python and `verifiers`.

    python examples/custom_verifier.py
    assay check examples/custom_verifier.py:divisors --data FILE

Both try whatever a run relies on: it accepts the right answers and none that is another's, earns nothing for
cheap tricks, never raises, and judges the same twice. In a run it stands in the config: `verifiers={"divisors":
divisors}`. How a package ships one: examples/plugin.
"""

import verifiers
from verifiers import Outcome, Problem, Verdict


def divisors(problem: Problem, completion: str) -> Verdict:
    """Accepts all divisors of the number in the prompt, in any order; partial lists earn nothing."""
    gold = {int(part) for part in problem.answer.split(",")}
    parts = [part.strip() for part in completion.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return Verdict(0, Outcome.UNPARSED, reason="not a list of numbers")
    found = [int(part) for part in parts]
    if sorted(found) == sorted(gold):
        return Verdict(1, Outcome.CORRECT, completion, "all divisors")
    missing, wrong = sorted(gold - set(found)), sorted(set(found) - gold)
    return Verdict(0, Outcome.INCORRECT, completion, f"missing {missing}, wrong {wrong}")


PROBLEMS = [
    Problem(f"divisors/{n}", f"List all divisors of {n}, separated by commas.", answer, "divisors")
    for n, answer in {6: "1, 2, 3, 6", 8: "1, 2, 4, 8", 9: "1, 3, 9", 13: "1, 13"}.items()
]

if __name__ == "__main__":
    print(verifiers.check(divisors, PROBLEMS, others=3))
