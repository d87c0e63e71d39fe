"""Shows a verifier that a package brings along.

    pip install ./examples/plugin
    assay check palindrome --data examples/plugin/palindromes.jsonl

The file's rows give a `solution`, since the answer (a length) is no completion; `assay check` needs one that is right.
"""

from verifiers import Outcome, Problem, Verdict


def palindrome(problem: Problem, completion: str) -> Verdict:
    """A word of `problem.answer` letters that reads the same from both ends, and is not one letter many times."""
    word = completion.strip().lower()
    if not (word.isascii() and word.isalpha()):
        return Verdict(0, Outcome.UNPARSED, reason="not one word")
    if len(word) != problem.answer or word != word[::-1] or len(set(word)) == 1:
        return Verdict(0, Outcome.INCORRECT, word, "no palindrome of this length")
    return Verdict(1, Outcome.CORRECT, word)
