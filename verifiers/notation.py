"""Turns a mathematical answer, in LaTeX or plain text, into tokens: one spelling for what has several."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

MAX_CHARACTERS = 3000
MAX_TOKENS = 800


class Unreadable(Exception):
    """The text is no mathematical answer that the grammar knows."""


class TooLarge(Exception):
    """A deterministic bound on size, depth or work was reached."""


class Token(NamedTuple):
    kind: str  # number, symbol, text, function, or the sign itself
    value: str


FUNCTIONS = {
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "log", "ln", "lg", "exp", "abs", "floor", "ceil", "cis",
}  # fmt: skip
BIG = {"sum", "prod", "int", "lim"}  # Of a gold answer these are evaluated; nobody else's are.
MANY = {"gcd", "lcm", "max", "min"}
_ALIASES = {
    "leq": "≤", "le": "≤", "leqslant": "≤", "geq": "≥", "ge": "≥", "geqslant": "≥", "neq": "≠", "ne": "≠",
    "lt": "<", "gt": ">", "in": "∈", "cup": "∪", "approx": "≈", "sim": "≈", "pm": "±", "mp": "∓", "cdot": "*",
    "times": "*", "ast": "*", "div": "/", "infty": "∞", "emptyset": "∅", "varnothing": "∅", "circ": "°",
    "degree": "°", "lbrace": "\\{", "rbrace": "\\}", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|",
    "ldots": "…", "dots": "…", "cdots": "…", "colon": ":", "langle": "(", "rangle": ")", "tfrac": "frac",
    "dfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "asin": "arcsin", "acos": "arccos",
    "atan": "arctan", "tg": "tan", "ctg": "cot", "arctg": "arctan", "cosec": "csc", "to": "→", "rightarrow": "→",
    "longrightarrow": "→", "setminus": "∖", "smallsetminus": "∖", "backslash": "∖", "Vert": "|", "lVert": "|",
    "rVert": "|", "R": "ℝ", "reals": "ℝ", "equiv": "=",
}  # fmt: skip
_SYMBOLS = frozenset(
    {
        "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega",
        "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell", "hbar",
        "aleph", "partial", "nabla",
    }
)  # fmt: skip
_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "√": "\\sqrt ", "π": "\\pi ",
        "⩽": "≤", "⩾": "≥", "º": "°", "′": "'", "’": "'", "½": "\\frac12 ", "¼": "\\frac14 ", "¾": "\\frac34 ",
        "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "θ": "\\theta ", "λ": "\\lambda ", "φ": "\\phi ",
        "ℝ": "\\R ", "ℤ": "\\Z ", "∖": "\\setminus ", "∑": "\\sum ", "∏": "\\prod ", "∫": "\\int ", "→": "\\to ",
        "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "\u200b": None, "\ufeff": None,
        "≡": "\\equiv ", "⟨": "(", "⟩": ")", "∣": "|", "。": ".", "、": ",", "“": '"', "”": '"', "¢": " cents ",
        "δ": "\\delta ", "ε": "\\epsilon ", "ρ": "\\rho ", "σ": "\\sigma ", "ω": "\\omega ", "μ": "\\mu ", "µ": "\\mu ",
    }
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_REWRITES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\\\\(?=(?:[dt]?frac|sqrt|pi|left|right|text|cdot|times)(?![a-z]))", r"\\"),  # Escaped once too often.
    (r"\\(?:color\s*\{[^{}]*\}|[hv]?phantom\s*\{[^{}]*\}|textcolor\s*\{[^{}]*\}|underline(?![a-zA-Z]))", " "),
    # How it looks: {\bf 5}, \large, a mark of the end.
    (r"\\(?:bf|rm|it|sf|tt|small|[lL]arge|LARGE|[hH]uge|normalsize|checkmark|(?:black)?square|Box)(?![a-zA-Z])", " "),
    (r"\\overline\s*\{\s*([A-Z]{2,3})\s*\}", r" \1 "),
    (r"(?<=\.)([0-9]*)\\bar\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))", r"\1\\overline{\2\3}"),
    (r"(?<=[0-9]\.)\(([0-9]{1,20})\)", r"\\overline{\1}"),
    (r"(?<![\\a-zA-Z])sqrt ?([0-9]+(?:\.[0-9]+)?)", r"\\sqrt{\1}"),
    (r"\(\s*(?:\\text\s*\{\s*)?\\?b?mod(?![a-z])\s*\}?[\s\\]*([0-9]{1,9})\s*\}?\s*\)", r"\\pmod{\1}"),
    (r"\\pmod\s*([0-9]{1,9})", r"\\pmod{\1}"),
    (r"(\\equiv(?![a-z])[^,;()]*?)\\?\b[bp]?mod(?![a-z])\s*\{?\s*([0-9]{1,9})\s*\}?", r"\1\\pmod{\2}"),
    (r"\\(?:vec|overrightarrow|hat|widehat)\s*(?:\{\s*(\\?[a-zA-Z]+)\s*\}|([a-zA-Z]))", r" \1\2 "),
    (r"\\(bar|tilde|widetilde)\s*(?:\{\s*(\\?[a-zA-Z]+)\s*\}|([a-zA-Z]))", r" \2\3_{\1} "),
    (r"\\(?:mathbb|Bbb|mathbf)\s*(?:\{\s*([RZNQC])\s*\}|([RZNQC])(?![a-zA-Z]))", r" \\\1\2 "),
    (r"\\math(?:bf|rm|it|cal|sf)\s+([a-zA-Z])(?![a-zA-Z])", r" \1 "),
    (r"\\dot\s*\{?([0-9])\}?([0-9]*)\\dot\s*\{?([0-9])\}?", r"\\overline{\1\2\3}"),
    (r"\\dot\s*\{?([0-9])\}?", r"\\overline{\1}"),
    (r"\bMatrix(?=\(\[)", ""), (r"\{([^{}]*)\\choose([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    (r"(?:\{\})?_\{?([0-9]{1,4})\}?\s*C\s*_\{?([0-9]{1,4})\}?", r"\\binom{\1}{\2}"),
    (r"(?<![a-zA-Z\\])C_\{?([0-9]{1,4})\}?\^\{?([0-9]{1,4})\}?", r"\\binom{\1}{\2}"),
    (r"(?<![a-zA-Z\\])C\(([0-9]{1,4}), ?([0-9]{1,4})\)", r"\\binom{\1}{\2}"),
    (r"\\begin\s*\{array\}\s*\{[^{}]*\}", r"\\begin{matrix}"), (r"\\end\s*\{array\}", r"\\end{matrix}"),
    (r"^\s*(?:≈|\\approx(?![a-z]))", ""), (r"\{:\}", ":"),
    (r"^([0-9]+) ?(?:to|\\text\s*\{\s*to\s*\}) ?([0-9]+)$", r"\1:\2"),
    (r"^([0-9]+) ?(?:R|r|remainder|\\text\s*\{\s*(?:R|r|remainder)\s*\}) ?([0-9]+)$", r"(\1,\2)"),
    (r"(?<=[0-9])(?:\s|\\[,;: ]|~)*(?:\\Omega(?![a-zA-Z])|Ω)", r"\\text{ohms}"),
    (r"(?<=[0-9)])(or|and)(?=[a-zA-Z(\\])", r" \1 "),
    (r"(?<=[0-9])\s?x\s?(?=10\s?\^)", r"\\times "),
    (r"\bRs\.?\s?(?=[0-9])|\bUS(?=\\?\$)|[¥₹]", " "),
    (r"\b(?:USD|US dollars?|dollars?)\b", "dollars"),
    (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\.?", " "),
    (r"\\(?:displaystyle|textstyle|limits|boldsymbol|bm|angle|triangle)(?![a-zA-Z])", " "),
    (r"(?<!\\)\\!\s*|\{,\}(?=[0-9]{3})", ""),
    (r"(?<!\\)\\q?quad", " , "),
    (r"\\\$|\$|\\\(|\\\)|\\\[|\\\]|[£€]", " "), (r"\\\|", "|"),
    (r"\\%", "%"),
    (r"(?<=[0-9])(?:\\[,:; ]|~|\\thinspace )\s?(?=[0-9]{3}(?![0-9]))", ""),
    (r"(?<!\\)\\[,:;> ]|~", " "),
    (r"\\(?:mathrm|mathbf|mathit|mbox|textbf|textit|textrm|operatorname|hbox)\s*(?=\{)", r"\\text"),
    (r"\\text\s*\{((?:\^\s*\{-?[0-9]+\}|[^{}])*+)\}",  # m s^{-1}
     lambda m: f" \\text{{{m[1].replace('{', '').replace('}', '').strip()}}} "),
    # The range of a variable is no part of an answer, but a second answer behind it would be.
    (r",? ?(?:\\text\{,? ?)?\bfor (?:all|any|every|some)\b(?:(?!\b(?:and|or)\b).)*$", ""),
    (r"\\overline\s*\{?([0-9]+)\}?", r"\\overline{\1}"),
    (r"\^\s*\{?\s*(?:\\circ|\\degree|°|o)(?![a-zA-Z])\s*\}?", "°"),
    (r"(?:\\text ?\{ ?)?(?:°|\bdegrees?\b) ?\}?\s*(?:\\text ?\{ ?)?(C|F|[Cc]elsius|[Ff]ahrenheit)(?![a-zA-Z]) ?\}?",
     lambda m: f" \\text{{°{m[1][0].upper()}}} "),
    (r"\^\s*\{?\s*\\prime(?![a-zA-Z])\s*\}?", "'"),
    (r"<=", "≤"), (r">=", "≥"), (r"!=", "≠"), (r"\*\*", "^"), (r"\.\.\.|\\[lc]?dots(?![a-z])", "…"),
    (r"(?<![0-9])([0-9]{1,3})((?: [0-9]{3})+)(?![0-9]| ?/)", lambda m: m[0].replace(" ", "")),
)  # fmt: skip


@functools.cache
def _rewrites() -> list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]:
    """Compiled when the first text comes, not when the module is imported."""
    return [(re.compile(pattern), to) for pattern, to in _REWRITES]


_TOKEN = re.compile(
    r"""\s+
    |(?P<repeating>[0-9]*\.[0-9]*\\overline\{[0-9]+\})
    |(?P<running>[0-9]*\.[0-9]+)[ ]?…
    |(?P<thousands>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?)
    |(?P<scientific>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)[eE][-+]?[0-9]+)
    |(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
    |\\text\{(?P<text>[^{}]*)\}
    |\\begin\s*\{(?P<begin>[a-z]*matrix|cases)\} |\\end\s*\{(?P<end>[a-z]*matrix|cases)\}
    |\\(?P<command>[a-zA-Z]+) |(?P<word>[a-zA-Z]+'*)
    |(?P<sign>\\\\|\\[{}]|[-+*/^_=<>(){}\[\],;:|!%&'°≤≥≠∈∪∖±∓≈…∞∅])
    |(?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_SHORT_WORDS = frozenset(  # Words of two or three letters that are not products of variables.
    {
        "cm", "mm", "km", "kg", "mg", "ft", "yd", "mi", "in", "hr", "min", "sec", "lb", "oz", "ml", "mph", "am", "pm",
        "Hz", "dm", "is", "it", "of", "to", "as", "by", "if", "no", "we", "so", "at", "be", "an", "do",
        "mL", "kJ", "kW", "kV", "Pa", "eV",
    }
)  # fmt: skip
_UNIT_LETTERS = frozenset("msghLNJWVK")  # Units, where they stand in \\text behind a number.
_WORDS = {"pi": "symbol", "infinity": "∞", "inf": "∞", "oo": "∞", "and": "and", "or": "or", "percent": "%", "pct": "%",
          "percentage": "%", "degrees": "°", "degree": "°"}  # fmt: skip
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_AGAIN = re.compile(r"(?<=[.0-9])([0-9]{2,12}?|[0-9](?=[0-9]{2}))\1+$")
_COUNTED = re.compile(r"(-?[0-9][0-9,.]*(?:/[0-9]+)?)\s*([a-zA-Z%°][^0-9]*)")  # "5 cm", "12 apples"
_LISTED = re.compile(r"\s*(?:,|;|&|\band\b)\s*")
_CONJUNCTION = re.compile(r",?\s*(and|or)\s*,?", re.IGNORECASE)
_EDGES = re.compile(r"(?:(,|;|,?\s*(?:and|or)\b)\s*)?(.*?)(?:\s*(,|;|,?\s*\b(?:and|or)))?", re.IGNORECASE)  # "boys and"
_APPLIED = {"min": re.compile(r"\s*(?:\\?\{|[(\[_])"), "sec": re.compile(r"\s*[\w({\[^_\\]")}  # Else minutes, seconds.


def normalize(text: str) -> str:
    """One spelling for what has several: spacing, sizes, unicode signs, text commands."""
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(f"an answer of {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if _NUMBER.fullmatch(text):  # Most answers are nothing but a number.
        return text
    if not text.isascii():
        text = re.sub("√ ?([0-9]+(?:\\.[0-9]+)?)", r"\\sqrt{\1}", text)
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda m: "^{" + m[0].translate(_SUPERSCRIPTS) + "}", text)
        text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda m: "_{" + m[0].translate(_SUBSCRIPTS) + "}", text)
        text = unicodedata.normalize("NFKC", text.translate(_UNICODE))
    text = text.strip().strip('*`"')  # Not what is bold inside: 2**3**2 is a power.
    for pattern, to in _rewrites():
        text = pattern.sub(to, text)
    return text.strip().strip("*").rstrip(" .,;:").strip()


def tokenize(text: str, *, thousands: bool = True) -> list[Token]:
    """Tokens of a normalized text. `thousands`: whether "1,234" is one number, or two."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup, match[match.lastgroup] if match.lastgroup else ""
        if kind == "bad":
            raise Unreadable(f"the sign {value!r}")
        if kind == "thousands":
            parts = [value.replace(",", "")] if thousands else value.replace(",", " , ").split()
            tokens += [Token("," if part == "," else "number", part) for part in parts]
        elif kind == "repeating":
            tokens.append(Token("repeating", value))
        elif kind == "running":  # 0.1666... is 0.1 and a repeating 6.
            block = _AGAIN.search(value, max(0, len(value) - 60))
            written = [Token("number", value), Token("…", "…")]
            tokens += [Token("repeating", f"{value[: block.start()]}\\overline{{{block[1]}}}")] if block else written
        elif kind == "scientific":
            mantissa, exponent = value.lower().split("e")
            sign = [Token("-", "-")] if exponent.startswith("-") else []
            power = [Token("^", "^"), Token("{", "{"), *sign, Token("number", exponent.lstrip("+-")), Token("}", "}")]
            tokens += [Token("number", mantissa), Token("*", "*"), Token("number", "10"), *power]
        elif kind == "number":
            tokens.append(Token("number", value))
        elif kind == "text":
            unit = (value in _UNIT_LETTERS or value == "min") and tokens and tokens[-1].kind in ("number", "}")
            tokens += [Token("text", value)] if unit else _words(value, inside_text=True)
        elif kind in ("begin", "end"):
            tokens.append(Token(kind, value))
        elif kind == "command":
            tokens.append(_command(value))
        elif kind == "word":
            unit = value in _APPLIED and not _APPLIED[value].match(text, match.end())
            tokens += [Token("text", value)] if unit else _words(value, inside_text=False)
        elif kind == "sign":
            tokens.append(Token(value, value))
        if len(tokens) > MAX_TOKENS:
            raise TooLarge(f"more than {MAX_TOKENS} tokens")
    return tokens


def _command(name: str) -> Token:
    name = _ALIASES.get(name, name)
    if name in FUNCTIONS:
        return Token("function", name)
    if name in BIG:
        return Token("big", name)
    if name in MANY:
        return Token("many", name)
    if name in _SYMBOLS or name in ("ℝ", "Z", "N", "Q", "C"):
        return Token("symbol", name)
    if name in ("frac", "binom", "lfloor", "rfloor", "lceil", "rceil", "boxed", "pmod") or not name.isalpha():
        return Token(name, name)
    return Token("unknown", "\\" + name)  # Fine in a subscript, e.g. I_{\max}.


def _words(text: str, *, inside_text: bool) -> list[Token]:
    if not text:
        return []
    if conjunction := _CONJUNCTION.fullmatch(text):
        return [Token(conjunction[1].lower(), ",")]
    edges = _EDGES.fullmatch(text) if inside_text else None
    if edges and (edges[1] or edges[3]):
        around = [
            [Token("," if edge in ",;" else edge.strip(", ").lower(), ",")] if edge else []
            for edge in edges.group(1, 3)
        ]
        return [*around[0], *_words(edges[2], inside_text=True), *around[1]]
    if inside_text and "=" in text:
        return tokenize(text)
    if inside_text and (counted := _COUNTED.fullmatch(text)):
        return [*tokenize(counted[1]), *_words(counted[2], inside_text=True)]
    if inside_text and len(parts := _LISTED.split(text)) > 1 and all(len(part) == 1 for part in parts):
        joined = [[Token(",", ","), *_words(part, inside_text=True)] for part in parts]
        return [token for tokens in joined for token in tokens][1:]
    known = _WORDS.get(text.lower())
    if known is not None:
        return [Token(known, text.lower())]
    bare = text.rstrip("'").removeprefix("(").removesuffix(")") if len(text) == 3 else text.rstrip("'")
    name = _ALIASES.get(text, text)
    if name in FUNCTIONS:
        return [Token("function", name)]
    if name in MANY:
        return [Token("many", name)]
    if re.fullmatch(r"[-+]?[0-9]+(?:\.[0-9]+)?", text):
        return tokenize(text)
    if len(bare) == 1 and bare.isalpha():
        return [Token("symbol", text.strip("()"))]
    if inside_text or bare in _SHORT_WORDS or (bare.istitle() and bare.lower() in _SHORT_WORDS):
        return [Token("text", text)]
    if bare.isupper() or bare in _SYMBOLS:
        return [Token("symbol", text)]
    return [Token("symbol", letter) for letter in text] if len(text) == 2 else [Token("text", text)]
