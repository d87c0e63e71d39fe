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
    "log", "ln", "lg", "exp", "abs", "floor", "ceil", "cis", "sech", "csch", "coth", "arcsinh", "arccosh", "arctanh",
    "arccot", "arcsec", "arccsc",
}  # fmt: skip
BIG = {"sum", "prod", "int", "lim"}  # Of a gold answer these are evaluated; nobody else's are.
MANY = {"gcd", "lcm", "max", "min"}
_ALIASES = {
    "leq": "≤", "le": "≤", "leqslant": "≤", "geq": "≥", "ge": "≥", "geqslant": "≥", "neq": "≠", "ne": "≠", "cap": "∩",
    "lt": "<", "gt": ">", "in": "∈", "cup": "∪", "approx": "≈", "sim": "≈", "pm": "±", "mp": "∓", "cdot": "*",
    "times": "*", "ast": "*", "div": "/", "infty": "∞", "emptyset": "∅", "varnothing": "∅", "circ": "°",
    "degree": "°", "lbrace": "\\{", "rbrace": "\\}", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|",
    "ldots": "…", "dots": "…", "cdots": "…", "colon": ":", "langle": "(", "rangle": ")", "tfrac": "frac",
    "dfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "asin": "arcsin", "acos": "arccos",
    "atan": "arctan", "tg": "tan", "ctg": "cot", "arctg": "arctan", "cosec": "csc", "to": "→", "rightarrow": "→",
    "longrightarrow": "→", "setminus": "∖", "smallsetminus": "∖", "backslash": "∖", "Vert": "|", "lVert": "|",
    "rVert": "|", "R": "ℝ", "reals": "ℝ", "equiv": "=", "nicefrac": "frac", "sfrac": "frac", "bigcup": "∪",
    "lbrack": "[", "rbrack": "]", "lor": "or", "vee": "or", "land": "and", "wedge": "and", "cr": "\\\\",
    "leqq": "≤", "geqq": "≥", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "arsinh": "arcsinh",
    "arcosh": "arccosh", "artanh": "arctanh", "acot": "arccot", "arcctg": "arccot",
    "varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta",
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
        "≦": "≤", "≧": "≥", "˚": "°", "⁄": "/", "∧": "\\land ", "∨": "\\lor ", "∛": "\\sqrt[3]", "∜": "\\sqrt[4]",
        "δ": "\\delta ", "ε": "\\epsilon ", "ρ": "\\rho ", "σ": "\\sigma ", "ω": "\\omega ", "μ": "\\mu ", "µ": "\\mu ",
        "Å": "\\text{angstrom}", "\u212b": "\\text{angstrom}",
    }
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

_ACCENTED = (  # \\bar{x}_1
    r"\\(bar|tilde|widetilde|d?dot)(?![a-z])\s*(?:\{\s*(\\?[a-zA-Z]+)\s*\}|([a-zA-Z]))"
    r"(?:\s*_\s*(?:\{\s*([a-zA-Z0-9]{1,9})\s*\}|([a-zA-Z0-9])))?"
)
_POINTS = (  # \{(x, y) \in \R^2 \mid x + y = 1\}
    r"^\s*\\\{\s*\(\s*([a-z](?:\s*,\s*[a-z]){1,2})\s*\)\s*(?:(?:\\in(?![a-z])|∈)\s*\\R\s*\^\s*\{?\s*[23]\s*\}?\s*)?"
    r"(?::|\||\\mid(?![a-z]))(.*)\\\}\s*$"
)
_UNIT = r"\\text\{[a-zA-Z]{1,4}\}(?:\s*\^\s*(?:\{-?[0-9]\}|[0-9]))?"


def _unit_product(found: re.Match[str]) -> str:
    """Units one after the other as one: kg·m/s^2."""
    parts = re.findall(r"\\text\{([a-zA-Z]+)\}(?:\s*\^\s*\{?(-?[0-9]))?|(/)", found[0])
    if not re.search(r"cdot|[*/^]", found[0]) or any(name in ("or", "and", "to") for name, *_ in parts):
        return found[0]
    label = ""
    for name, power, slash in parts:
        label += slash or ("" if label[-1:] in ("", "/") else "·") + name + (f"^{power}" if power else "")
    return f"\\text{{{label}}}"


def _reversed_brackets(found: re.Match[str]) -> str:
    """]0, 1[ as (0, 1)."""
    return {"]": "("}.get(found[1], found[1]) + found[2] + {"[": ")"}.get(found[3], found[3])


def _points(found: re.Match[str]) -> str:
    """{(x, y) | x + y = 1} as x + y = 1: what it says of its letters, if it says something of each, in their order."""
    letters = re.findall("[a-z]", found[1])
    said = "".join(re.findall(r"(?<![\\a-zA-Z])[a-z]+", found[2]))
    return found[2] if letters == sorted(letters) and set(letters) <= set(said) else found[0]


_REWRITES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\\(?:math(?:rm|bf|it)|text)\s*\{[\s~]*(\\[a-zA-Z]+)\s*\}", r" \1 "),
    # Escaped once too often, where that is no row of a matrix.
    (r"(?<!\\)\\\\(?=(?:[dt]?frac|sqrt|pi|left|right|text|cdot|times)(?![a-z]))", r"\\"),
    (r"\\(?:therefore|mathstrut|ensuremath|middle|(?:text|math)dollar)(?![a-zA-Z])", " "),
    (r"&\s*(?==)|(?<==)\s*&", ""),
    (r"\^\s*(\{\s*)?((?:\\prime(?![a-zA-Z])\s*)+)(?(1)\})", lambda m: "'" * m[2].count("p")),
    (r"^[\s$]*(?:\\q?quad(?![a-z])\s*)+", ""),
    (r"^[\s$]*([0-9]{1,9})\s*(?:\\mid(?![a-z])|\|)\s*([a-zA-Z])[\s$]*$", r"\2\\equiv 0\\pmod{\1}"),  # 6 | n
    # dy/dx is y', and d^2y/dx^2 is y''.
    (r"\\[dt]?frac\s*\{\s*d\s*([a-zA-Z])\s*\}\s*\{\s*d\s*x\s*\}|(?<![a-zA-Z\\])d([a-zA-Z])/dx(?![a-zA-Z])", r"\1\2'"),
    (r"\\[dt]?frac\s*\{\s*d\s*\^\s*\{?\s*2\s*\}?\s*([a-zA-Z])\s*\}\s*\{\s*d\s*x\s*\^\s*(?:2|\{2\})\s*\}", r"\1''"),
    (r"(?:\\textcircled\s*\{\s*[0-9]{1,2}\s*\}[\s,$]*)+", lambda m: ",".join(re.findall("[0-9]+", m[0]))),
    (r"(?<![a-zA-Z\\])(sq|cu)\.?\s?(?=(?:ft|feet|foot|in|cm|mm?|km|mi|yd|yard|unit)[a-z]*\b)",
     lambda m: {"s": "square ", "c": "cubic "}[m[1][0]]),
    (r"(?<![a-zA-Z])(ft|in|lb|oz|yd|mi|hr|min|sec)\.(?=\s?[a-zA-Z)^]|\s*$)", r"\1"),
    (r"(?<=[0-9])\s*\(\s*(degrees?|percent|square [a-z]+)\s*\)", r" \1"),
    (r"(?<=[0-9])\s*\$?\s*\{\s*\\circ\s*\}", "°"), (r"\{\s*\}\s*(?=\^\s*\{?\s*\\circ)", ""),
    (r"(?<=\S) \+- ", r" \\pm "),
    (r"(?<=[0-9]) (nm|[mk][AVN]|mW|[mMG]J|[MG]W|[np][FC]|[mnp]s)(?=\s*$|/|\^)", r"\\text{\1}"),
    (r"^(-?[0-9][0-9.,]*) ([NJWVK])$", r"\1\\text{\2}"),
    (r"&\s*\\text\s*\{\s*(if|for|when)\s*\}\s*&", r"& \\text{\1}"), (r"\.\s*(?=\\end\s*\{)", ""),
    (r"\\mu\s*\\(?:text|mathrm)\s*\{\s*(?=[a-zA-Z])", r"\\text{u"),
    (r"\\(text|mathrm)\s*\{\s*\\mu\s*(?=[a-zA-Z])", r"\\text{u"),
    (r"\{\s*(\\[a-z]+)\s*\}(?=\s*\^)", r"\1"),
    # A brace around a column, equations below each other.
    (r"\\left\s*\\\{\s*\\begin\s*\{(array|aligned|matrix)\}(?:\{[^{}]*\})?([\s\S]*?)\\end\s*\{\1\}\s*\\right\s*\.",
     r"\\begin{cases}\2\\end{cases}"),
    (r"\\(begin|end)\s*\{(?:align|aligned|gathered|split)\*?\}", r"\\\1{cases}"),
    (r"\{\s*\\(?:rm|bf|it|sf|tt)\s+([a-zA-Z0-9 .()]+)\}", r"\\text{\1}"),
    (r"\\(?:color\s*\{[^{}]*\}|[hv]?phantom\s*\{[^{}]*\}|textcolor\s*\{[^{}]*\}|underline(?![a-zA-Z]))", " "),
    (r"(\\\\)\[\s*-?[0-9.]+\s*(?:pt|em|ex|mm|cm)\s*\]", r"\1"),  # The space below a row of a matrix.
    # How it looks: {\bf 5}, \large, a mark of the end.
    (r"\\(?:bf|rm|it|sf|tt|small|[lL]arge|LARGE|[hH]uge|normalsize|hline)(?![a-zA-Z])", " "),
    (r"\\(?:checkmark|(?:black)?square|Box)(?![a-zA-Z])", " "),
    (r"\\overline\s*\{\s*([A-Z]{2,3})\s*\}", r" \1 "),
    (r"\\overline\s*\{([0-9]+)\}(?=\s*_)", r"\1"),  # A numeral of some base.
    (r"(\\overline\s*\{)\s*\\(?:mathrm|text|mathbf)\s*\{([0-9]+)\}\s*\}", r"\1\2}"),
    (r"(\.[0-9]{0,20}) (?=\\overline|\\bar)", r"\1"),
    (r"(?<=\.)([0-9]*)\\bar\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))", r"\1\\overline{\2\3}"),
    (r"^([^.]*?[0-9]\.[0-9]{0,20})\(([0-9]{1,20})\)(?=[\s$\\\])}.]*$)|(?<=[0-9]\.)\(([0-9]{1,20})\)",
     r"\1\\overline{\2\3}"),
    (r"(?<![\\a-zA-Z])sqrt ?([0-9]+(?:\.[0-9]+)?)", r"\\sqrt{\1}"),
    (r"\(\s*(?:\\text\s*\{\s*)?\\?b?mod(?![a-z])\s*\}?[\s\\]*([0-9]{1,9})\s*\}?\s*\)", r"\\pmod{\1}"),
    (r"\\pmod\s*([0-9]{1,9})", r"\\pmod{\1}"),
    (r"(\\equiv(?![a-z])[^,;()]*?)\\?\b[bp]?mod(?![a-z])\s*(\{\s*)?([0-9]{1,9})(?(2)\s*\})", r"\1\\pmod{\3}"),
    (r"\\(?:vec|overrightarrow|hat|widehat)\s*(?:\{\s*(\\?[a-zA-Z]+)\s*\}|([a-zA-Z]))", r" \1\2 "),
    (_ACCENTED, r" \2\3_{\4\5 \1} "),
    (r"\\(?:mathbb|Bbb|mathbf)\s*(?:\{\s*([RZNQC])\s*\}|([RZNQC])(?![a-zA-Z]))", r" \\\1\2 "),
    (r"\\math(?:bf|rm|it|cal|sf)\s+([a-zA-Z])(?![a-zA-Z])", r" \1 "),
    (r"\\dot\s*(\{)?([0-9])(?(1)\})([0-9]*)\\dot\s*(\{)?([0-9])(?(4)\})", r"\\overline{\2\3\5}"),
    (r"\\dot\s*(\{)?([0-9])(?(1)\})", r"\\overline{\2}"),
    (r"\bMatrix(?=\(\[)", ""), (r"\{([^{}]*)\\choose([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"\{([^{}]*)\\over(?![a-zA-Z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    (r"^([^{}\\]+)\\over(?![a-zA-Z])([^{}\\]+)$", r"\\frac{\1}{\2}"),
    (r"\\root\s*(\{)?([0-9]+)(?(1)\})\s*\\of(?![a-z])", r"\\sqrt[\2]"), (r"\bcbrt ?\(([^()]*)\)", r"\\sqrt[3]{\1}"),
    (r"\\text\s*\{\s*[aA]ll real(?: numbers)?\s*\}\s*[a-z]$", r"\\R"),
    (r"\\(?:mathrm|text|operatorname|mathbf)\s*\{C\}(?=\s*[_(])", "C"),
    (r"(?:\{\}|(?<![\w})]))[_^](\{)?([0-9]{1,4})(?(1)\})\s*C\s*_(\{)?([0-9]{1,4})(?(3)\})", r"\\binom{\2}{\4}"),
    (r"(?<![a-zA-Z\\])C_(\{)?([0-9]{1,4})(?(1)\})\^(\{)?([0-9]{1,4})(?(3)\})", r"\\binom{\2}{\4}"),
    (r"(?:\\(?:mathrm|text)\s*\{[AP]\}|(?<![a-zA-Z\\])[AP])\s*_(\{)?([0-9]{1,4})(?(1)\})\^(\{)?([0-9]{1,4})(?(3)\})",
     r"\\binom{\2}{\4}\\cdot \4!"),
    (r"(?<![a-zA-Z\\])(?:C|\\?binom)\(([0-9nmk][0-9nmk+-]{0,6}), ?([0-9nmk]{1,4})\)", r"\\binom{\1}{\2}"),
    (r"^([0-9]{1,4}) ?(?:C|\\?choose|\\text\s*\{ ?(?:C|choose) ?\}) ?([0-9]{1,4})$", r"\\binom{\1}{\2}"),
    (r"\\hat\s*\{\s*\\(?:mathbf|boldsymbol|bm|mathrm)\s*\{([a-zA-Z])\}\s*\}", r" \1 "),
    (r"\\([ij])math(?![a-z])", r" \1 "),
    (r"\^\s*(\{\s*)?(?:\\top|\\intercal|\\(?:mathrm|mathsf|text)\s*\{T\})(?(1)\s*\})", "^{T}"), (r"\+ ?/ ?-", r"\\pm "),
    (r"_\{\s*1\s*,\s*2\s*\}(?=\s*=)", ""),  # x_{1,2} = 1 ± 2
    (r"^(?:([a-zA-Z])\s*:\s*)?([a-zA-Z])\s*\\mapsto(?![a-z])", lambda m: f"{m[1] or 'f'}({m[2]})="),
    (r"\\begin\s*\{array\}\s*\{[^{}]*\}", r"\\begin{matrix}"), (r"\\end\s*\{array\}", r"\\end{matrix}"),
    (r"^[\s$]*(?:≈|\\approx(?![a-z]))", ""), (r"\{:\}", ":"),
    (r"^\s*(?:\\text\s*\{\s*)?(?:about|approximately)\s*\}?(?=[\s$]*[-0-9.\\$])", ""),
    (r"^[0-9]+(?: ?(?:to|\\text\s*\{\s*to\s*\}) ?[0-9]+)++$", lambda m: ":".join(re.findall("[0-9]+", m[0]))),
    # 6 h 2 min, 6h2m, 3 min 20 s; 4'3"
    (r"^([0-9.]+) ?h(?:(?:ou)?rs?)? ?([0-9.]+) ?m(?:in(?:ute)?s?)?(?: ?([0-9.]+) ?s(?:ec(?:ond)?s?)?)?$",
     lambda m: f"{m[1]}\\text{{h}} {m[2]}\\text{{min}}" + (f" {m[3]}\\text{{s}}" if m[3] else "")),
    (r"^([0-9.]+) ?m(?:in(?:ute)?s?)? ?([0-9.]+) ?s(?:ec(?:ond)?s?)?$", r"\1\\text{min} \2\\text{s}"),
    (r"""^([0-9]+) ?' ?([0-9]+(?:\.[0-9]+)?) ?(?:''|")?$""", r"\1\\text{ft} \2\\text{in}"),
    (r"(?:\\text\s*\{\s*)?\b(?:(negative|minus)|positive)\s+infinity\b(?:\s*\})?",
     lambda m: ("-" if m[1] else "") + r"\infty "),
    (r"(?<=[\])}])\s*(?:U|union|\\text\s*\{\s*(?:U|union)\s*\})\s*(?=[\[(]|\\[{l])", r"\\cup "),
    (r"^(?:\\text\s*\{)?\s*(?:all )?real numbers (?:except|excluding|other than)(?: for)?\s*\}?(?:\s*x\s*=)?(.*)$",
     r"\\R\\setminus\\{\1\\}"),
    (r"^\s*(?:USD|EUR|GBP)\s*(?=[0-9])", ""),
    (r"^([0-9]+) ?(?:R|r|remainder|\\text\s*\{\s*(?:R|r|remainder)\s*\}) ?([0-9]+)$", r"(\1,\2)"),
    (r"(?<=[0-9])(?:\s|\\[,;: ]|~)*(?:\\(?:text|mathrm)\s*\{\s*)?([kMG]?)\s*\}?\s*(?:\\Omega(?![a-zA-Z])|Ω)",
     r"\\text{\1ohms}"),
    (r"(?<=[0-9)])(or|and)(?=[a-zA-Z(\\])", r" \1 "),
    (r"(?<=[0-9])\s?x\s?(?=10\s?\^)", r"\\times "),
    (r"\bRs\.?\s?(?=[0-9])|\bUS(?=\\?\$)|[¥₹]", " "),
    (r"\b(?:USD|US dollars?|dollars?)\b", "dollars"),
    (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\.?", " "),
    (r"m\s*\\angle(?![a-z])", " "), (r"\\not\s*=", "≠"),
    (r"^([a-zA-Z])\s*\^\s*(?:\{\s*-1\s*\}|-1)\s*(?=\(\s*[-a-zA-Z0-9]+\s*\)\s*=)", r"\1_{-1}"),  # f^{-1}(x) = ...
    # Other names for a value: (f ∘ g)(2), dy/dx at x = 2, P(A ∩ B), det A, the area of triangle ABC.
    (r"^\(\s*([fgh])\s*\\circ\s*([fgh])\s*\)\s*(\([^()]*\))\s*(?==)", r"\1(\2\3)"),
    (r"\|\s*_\{[^{}]*\}(?=\s*=)", " "),
    (r"^\s*P\s*\([^()=]*(?:\\cap|\\cup|\\mid|\||=|<|>|\\text|\\[lg]e)[^()]*\)\s*(?==)", "P"),
    (r"^\s*\\(max|min|det)\s*\(?\s*([a-zA-Z])\s*\)?\s*(?==)", r"\2_{\1}"),
    (r"^\s*([a-zA-Z])\s*\([a-z]\)\s*_\s*\{?\\?(?:text\s*\{)?(max|min)\}*\s*(?==)", r"\1_{\2}"),
    (r"^\s*(\\text\s*\{[^{}]{2,60}\})\s*[A-Z]{1,4}\s*(?==)", r"\1"),
    (r"\\(?:displaystyle|textstyle|limits|boldsymbol|bm|angle|triangle)(?![a-zA-Z])", " "),
    (r"(?<!\\)\\!\s*|\{,\}(?=[0-9]{3})", ""),
    (r"(?<!\\)\\q?quad(?=\s*\\(?:text|mathrm)\s*\{\s*(?!and|or|if|for|when|where|with)[a-zA-Z/ ]{1,20}\}[\s$.]*$)",
     " "),
    (r"(?<!\\)\\q?quad", " , "),
    (r"\\\$|\$|\\\(|\\\)|\\\[|\\\]|[£€]", " "), (r"\\\|", "|"),
    (r"\\%", "%"), (r"^\s*<([^<>≤≥=,]+(?:,[^<>≤≥=,]+)+)>\s*$", r"(\1)"),  # <1, 2> is a vector.
    (r"(?<=[0-9])(?:\\[,:; ]|~|\\thinspace )\s?(?=[0-9]{3}(?![0-9]))", ""),
    (r"(?<!\\)\\[,:;> ]|~", " "),
    (r"\\(?:math(?:rm|bf|it|sf|tt)|mbox|text(?:bf|it|rm|sf|tt|normal)|emph|operatorname\*?|hbox)\s*(?=\{)", r"\\text"),
    (r"\\text\s*\{((?:\^\s*\{-?[0-9]+\}|[^{}])*+)\}",  # m s^{-1}
     lambda m: f" \\text{{{m[1].replace('{', '').replace('}', '').strip()}}} "),
    (r"(?<=[0-9])\s*\{\s*(\\text\{[^{}]*\})\s*\}", r" \1 "),
    # \mathrm{~kg} \cdot \mathrm{m} / \mathrm{s}^{2}
    (r"(?<=[0-9])(\s*\\text\{(?:N|lb|ft|kg|kW|A|V|W)) *\}\s*-\s*\\text\{ *(?=(?:m|ft|lb|s|h|hr|sec|min)\})", r"\1·"),
    (_UNIT + r"(?:\s*(?:(?:\\cdot|\*|/)\s*)?" + _UNIT + ")++", _unit_product),
    (r"\\overline\s*(?:\{([0-9]+)\}|([0-9]))", r"\\overline{\1\2}"),
    (r"\^\s*(\{[\s\\,;]*)?(?:\\circ|\\degree|°|o|\\text\s*\{o\})(?![a-zA-Z])(?(1)\s*\})", "°"),
    (r"(?:\\text ?\{ ?)?(?:°|\bdegrees?\b) ?\}?\s*(?:\\text ?\{ ?)?(C|F|[Cc]elsius|[Ff]ahrenheit)(?![a-zA-Z]) ?\}?",
     lambda m: f" \\text{{°{m[1][0].upper()}}} "),
    (r"([(\[\]])((?:(?!\\cup|\\text|∪)[^\[\]()])*,[^\[\]()]*)([)\[\]])(?=\s*(?:$|[.,]|∪|\\cup|\\text))",
     _reversed_brackets),
    (_POINTS, _points),
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
    |(?P<number>[0-9]+(?:\.[0-9]+|\.(?=[ ]?[/*]))?|\.[0-9]+)
    |\\text\{(?P<text>[^{}]*)\}
    |\\begin\s*\{(?P<begin>[a-zB]*matrix|cases)\} |\\end\s*\{(?P<end>[a-zB]*matrix|cases)\}
    |\\(?P<command>[a-zA-Z]+) |(?P<word>[a-zA-Z]+'*)
    |(?P<sign>\\\\|\\[{}]|[-+*/^_=<>(){}\[\],;:|!%&'°≤≥≠∈∪∖±∓≈…∞∅∩])
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
_MASSES = frozenset({"mg", "kg", "km", "cm", "mm", "dm"})  # Units behind a number, else products.
UNIT_LETTERS = frozenset("msghLNJWVKCATF")  # Units, where they stand in \\text behind a number.
_WORDS = {"pi": "symbol", "infinity": "∞", "inf": "∞", "oo": "∞", "and": "and", "or": "or", "by": "by", "percent": "%",
          "pct": "%", "percentage": "%", "degrees": "°", "degree": "°"}  # fmt: skip
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_AGAIN = re.compile(r"(?<=[.0-9])([0-9]{2,12}?|[0-9](?=[0-9]{2}))\1+$")
_COUNTED = re.compile(r"(-?[0-9][0-9,.]*(?:/[0-9]+)?)\s*([a-zA-Z%°][^0-9]*)")  # "5 cm", "12 apples"
_BOLD = re.compile(r"""^[*`"]++|(?<![*`"^])[*`"]++$""")  # ℝ^* keeps its star.
_CHINESE = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{[^{}]*\}|[一-鿿]+")
_CHINESE_JOINS = {"或": " or ", "和": " and ", "与": " and ", "且": " and ", "及": " and "}
_CIRCLED = re.compile("[①-⑳](?:[\\s,、，]*[①-⑳])+")  # Statements: ①③
_OVERLINED = re.compile("(?:[0-9]\u0305)+")
_LISTED = re.compile(r"\s*(?:,|;|&|\band\b)\s*")
_CONJUNCTION = re.compile(r",?\s*(and|or)\s*,?", re.IGNORECASE)
_EDGES = re.compile(
    r"(?:(,|;|,?\s*(?:and|or|by)\b)\s*)?(.*?)(?:\s*(,|;|,?\s*\b(?:and|or|by)))?", re.IGNORECASE
)  # "boys and"
_APPLIED = {"min": re.compile(r"\s*(?:\\?\{|[(\[_])"), "sec": re.compile(r"\s*[\w({\[^_\\]")}  # Else minutes, seconds.


def normalize(text: str) -> str:
    """One spelling for what has several: spacing, sizes, unicode signs, text commands."""
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(f"an answer of {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if _NUMBER.fullmatch(text):  # Most answers are nothing but a number.
        return text
    if not text.isascii():
        text = re.sub("(?:[³⁴]√|[√∛∜]) ?([0-9]+(?:\\.[0-9]+)?)", _root, text)
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda m: "^{" + m[0].translate(_SUPERSCRIPTS) + "}", text)
        text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda m: "_{" + m[0].translate(_SUBSCRIPTS) + "}", text)
        text = _CHINESE.sub(_as_text, re.sub("(?<=[0-9])又(?=[0-9\\\\])", " ", text))  # 1又1/2
        text = _CIRCLED.sub(lambda m: ",".join(str(ord(sign) - 0x245F) for sign in m[0] if sign >= "①"), text)
        text = _OVERLINED.sub(lambda m: "\\overline{" + m[0].replace("\u0305", "") + "}", text)
        text = "".join(map(_compatible, text.translate(_UNICODE)))
        text = unicodedata.normalize("NFKC", text).translate(_UNICODE)  # Among them were letters in italics.
    text = _BOLD.sub("", text.strip())  # Not what is bold inside: 2**3**2 is a power.
    for pattern, to in _rewrites():
        text = pattern.sub(to, text)
    return _BOLD.sub("", text.strip()).rstrip(" .,;:").strip()


def _as_text(found: re.Match[str]) -> str:
    """Chinese words as text, which they are often not marked as: 4厘米, 2或3."""
    word = found[0]
    inside = word.partition("{")[2].rstrip("}").strip() if word.startswith("\\") else word
    return _CHINESE_JOINS.get(inside) or (word if word.startswith("\\") else f"\\text{{{word}}}")


def _root(found: re.Match[str]) -> str:
    """√2, ∛2 and ³√2."""
    degree = {"³": "[3]", "∛": "[3]", "⁴": "[4]", "∜": "[4]"}.get(found[0][0], "")
    return f"\\sqrt{degree}{{{found[1]}}}"


def _compatible(sign: str) -> str:
    """A vulgar fraction in digits, ⅔."""
    if sign.isascii() or not unicodedata.decomposition(sign).startswith("<fraction>"):
        return sign
    above, _, below = unicodedata.normalize("NFKC", sign).partition("⁄")
    return f"\\frac{{{above}}}{{{below}}}" if below else sign


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
            tokens.append(Token("number", value.rstrip(".")))
        elif kind == "text":
            behind = bool(tokens) and (tokens[-1].kind in ("number", "}", ")") or tokens[-1].value == "pi")
            unit = behind and (value in UNIT_LETTERS or value == "min")
            tokens += [Token("text", value)] if unit else _words(value, inside_text=True)
        elif kind in ("begin", "end"):
            tokens.append(Token(kind, value))
        elif kind == "command":
            tokens.append(_command(value))
        elif kind == "word":
            unit = value in _APPLIED and not _APPLIED[value].match(text, match.end())
            behind = not tokens or tokens[-1].kind in ("number", "}", ")", "text", "/")
            if len(value) == 2 and value[1] == "e" and text.startswith("^", match.end()):  # Be^x
                tokens += [Token("symbol", letter) for letter in value]
                continue
            if value in _MASSES and not (behind and (tokens or match.end() == len(text))):  # m g sin θ
                tokens += [Token("symbol", letter) for letter in value]
                continue
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
    if (
        name in ("frac", "binom", "lfloor", "rfloor", "lceil", "rceil", "boxed", "pmod", "or", "and")
        or not name.isalpha()
    ):
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
            [Token("," if edge in ",;" else _WORDS[edge.strip(", ").lower()], ",")] if edge else []
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
    if len(bare) == 1 and bare.isalpha() and not "一" <= bare <= "鿿":
        return [Token("symbol", text.strip("()"))]
    if inside_text or bare in _SHORT_WORDS or (bare.istitle() and bare.lower() in _SHORT_WORDS):
        return [Token("text", text)]
    if len(bare) < 6 and not bare.isupper() and any(letter.isupper() for letter in bare[1:]):  # nRT
        return [Token("symbol", letter) for letter in text]
    if bare.isupper() or bare in _SYMBOLS:
        return [Token("symbol", text)]
    return [Token("symbol", letter) for letter in text] if len(text) == 2 else [Token("text", text)]
