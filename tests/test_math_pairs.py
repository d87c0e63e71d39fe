"""Labelled pairs of answers, form by form: what a verifier of mathematics has to know."""
# ruff: noqa: E501

import pytest

from verifiers import equivalent

# form: pairs (gold, answer) that are equal, and pairs that are not.
PAIRS = {
    "integers": (
        [("7", "7"), ("7", "+7"), ("-7", "- 7"), ("007", "7"), ("1000000", "1,000,000"), ("1000000", "1 000 000"),
         ("1000000", "10^6"), ("1000000", "1\\times10^{6}"), ("1000000", "1e6"), ("1000", "1{,}000"), ("7", "７"),
         ("7", "$7$"), ("7", "\\(7\\)"), ("7", "7."), ("7", "\\mathbf{7}"), ("7", "{7}"), ("7", "\\boxed{7}"),
         ("12", "3\\cdot 4"), ("12", "3*4"), ("12", "24/2"), ("-4", "−4"), ("7", "7\\,"), ("1234567", "1\\,234\\,567")],
        [("7", "8"), ("7", "-7"), ("7", "77"), ("7", "7.1"), ("7", "7,8"), ("10", "1"), ("12345678901", "12345678902"),
         ("1000000", "1,000,001"), ("7", "\\text{seven or eight}"), ("7", "7 \\text{ and } 8"), ("7", ""), ("0", "-1"),
         ("1234", "1.234")],
    ),
    "fractions and decimals": (
        [("1/2", ".5"), ("1/2", "\\tfrac{1}{2}"), ("1/2", "\\frac 1 2"), ("1/2", "0.50"), ("-1/2", "-\\frac{1}{2}"),
         ("-1/2", "\\frac{1}{-2}"), ("7/3", "2\\frac13"), ("7/3", "2 1/3"), ("2/3", "0.\\overline{6}"),
         ("2/3", "0.666667"), ("2/3", "0.6666666667"), ("1/7", "0.142857"), ("0.125", "1/8"), ("3.0", "3"),
         ("\\frac{3}{4}", "3/4"), ("\\frac{3}{4}", "\\frac{6}{8}"), ("\\frac{3}{4}", "75\\%"), ("1.5", "150\\%"),
         ("\\frac{x}{2}", "0.5x"), ("22/7", "\\frac{22}{7}")],
        [("1/2", "0.4"), ("1/2", "2"), ("2/3", "0.67"), ("2/3", "0.666666"), ("1/7", "0.14"), ("7/3", "2.3"),
         ("1/3", "3"), ("0.1", "0.01"), ("\\frac{3}{4}", "\\frac{4}{3}"), ("22/7", "\\pi"), ("7/3", "\\frac{13}{2}"),
         ("0.5", "0.05\\%")],
    ),
    "percent and currency": (
        [("50\\%", "0.5"), ("50\\%", "50"), ("50%", "50 percent"), ("12.5\\%", "\\frac{1}{8}"), ("$5", "5"),
         ("\\$5.00", "5"), ("5", "\\$5"), ("5 dollars", "5"), ("€7", "7"), ("\\$1,000", "1000"), ("100\\%", "1")],
        [("50\\%", "5"), ("50\\%", "0.05"), ("\\$5", "\\$6"), ("12.5\\%", "12"), ("5 dollars", "6 dollars")],
    ),
    "powers, roots, factorials": (
        [("\\sqrt{12}", "2\\sqrt{3}"), ("\\sqrt{12}", "\\sqrt{4}\\sqrt{3}"), ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"),
         ("2^{10}", "1024"), ("\\sqrt[3]{27}", "3"), ("8^{1/3}", "2"), ("8^{2/3}", "4"), ("6!", "720"),
         ("\\binom{10}{3}", "120"), ("2^{-3}", "1/8"), ("\\sqrt{2}+\\sqrt{3}", "\\sqrt{5+2\\sqrt{6}}"),
         ("3\\sqrt{2}", "\\sqrt{18}"), ("\\sqrt{50}", "5*sqrt(2)"), ("x^{\\frac12}", "\\sqrt{x}"), ("4^{50}", "2^{100}"),
         ("1", "(-1)^2"), ("(-1)^{2024}", "1"), ("-1", "(-1)^3"), ("4", "3-(-1)^3"), ("1", "(-1)^0"), ("0", "0^5"),
         ("\\frac{1}{1+\\sqrt{2}}", "\\sqrt{2}-1"), ("100!/98!", "9900"), ("2^{3^2}", "512"), ("e^{\\ln 5}", "5")],
        [("-1", "(-1)^2"), ("1", "(-1)^3"), ("\\sqrt{12}", "3\\sqrt{2}"), ("\\sqrt{2}", "1.414"), ("2^{10}", "1023"), ("2^{3^2}", "64"), ("6!", "6"),
         ("\\sqrt{2}+\\sqrt{3}", "\\sqrt{5}"), ("4^{50}", "2^{99}"), ("\\sqrt[3]{27}", "9"), ("\\binom{10}{3}", "720")],
    ),
    "trigonometry, logarithms, complex numbers": (
        [("\\frac{\\sqrt2}{2}", "\\sin 45^\\circ"), ("\\cos\\frac{\\pi}{3}", "0.5"), ("\\tan\\frac{\\pi}{4}", "1"),
         ("\\log_{10} 1000", "3"), ("\\ln e^2", "2"), ("\\log 2 + \\log 3", "\\log 6"), ("\\sin^2 x+\\cos^2 x", "1"),
         ("3+4i", "4i+3"), ("|3+4i|", "5"), ("i^2", "-1"), ("\\frac{1}{i}", "-i"), ("e^{i\\pi/2}", "i"),
         ("2\\cos^2 x - 1", "\\cos 2x"), ("\\arctan 1", "\\frac{\\pi}{4}"), ("\\ln\\frac{1}{2}", "-\\ln 2"),
         ("(2+i)(2-i)", "5"), ("180^\\circ", "\\pi"), ("\\frac{\\pi}{6}", "30°")],
        [("3+4i", "3-4i"), ("\\sin x", "\\sin 2x"), ("\\ln 6", "\\ln 2 \\ln 3"), ("\\sin 1", "\\sin 1^\\circ"),
         ("e", "2.718"), ("i", "-i"), ("\\log_2 8", "8"), ("\\pi", "\\frac{22}{7}")],
    ),
    "polynomials and functions": (
        [("(x+1)^2", "x^2+2x+1"), ("x(x-1)", "x^2-x"), ("\\frac{x}{x+1}", "1-\\frac{1}{x+1}"), ("2(x+y)", "2x+2y"),
         ("a^2-b^2", "(a-b)(a+b)"), ("f(x)=2x", "2x"), ("2x", "y=2x"), ("f(x)=x^2", "f(x) = x \\cdot x"),
         ("x^3-1", "(x-1)(x^2+x+1)"), ("\\frac{n(n+1)}{2}", "\\frac{n^2+n}{2}"), ("3x^2y", "3yx^2"), ("-x+y", "y-x"),
         ("2^{n+1}", "2\\cdot 2^n"), ("\\frac{1}{x}+\\frac{1}{y}", "\\frac{x+y}{xy}"), ("(-1)^{2n}x", "(-1)^{2n} x")],
        [("(x+1)^2", "x^2+1"), ("2x", "2y"), ("x^2", "x^3"), ("a-b", "b-a"), ("n(n+1)/2", "n(n+1)"), ("2x+3", "2x"),
         ("x^2+x", "x^2"), ("f(x)=2x", "g(x)=2x"), ("2^{n+1}", "2^n+1")],
    ),
    "sets, tuples, intervals": (
        [("\\{1,2,3\\}", "\\{3,2,1\\}"), ("1,2,3", "3, 2, 1"), ("(1,2,3)", "(1, 2, 3)"), ("(0,1]", "0<x\\le 1"),
         ("[0,\\infty)", "x\\ge 0"), ("(-\\infty,\\infty)", "(-\\infty, +\\infty)"), ("\\{0\\}", "0"), ("\\emptyset", "\\{\\}"),
         ("(-\\infty,0)\\cup(0,\\infty)", "(0,\\infty)\\cup(-\\infty,0)"), ("\\left(\\frac12,3\\right)", "(0.5,3)"),
         ("[1,2]", "1 \\leq x \\leq 2"), ("x=1,y=2", "y=2, x=1"), ("(1,-1),(2,0)", "(2,0), (1,-1)"),
         ("\\{-2,2\\}", "\\pm 2"), ("\\pm 2", "-2, 2"), ("2 \\text{ and } 3", "3 \\text{ and } 2"), ("2, 3", "x=2 or x=3")],
        [("\\{1,2,3\\}", "\\{1,2\\}"), ("(1,2)", "(1,2,3)"), ("(1,2,3)", "(3,2,1)"), ("(0,1]", "(0,1)"), ("(0,1]", "[0,1]"),
         ("[0,\\infty)", "(-\\infty,0]"), ("x\\ge 0", "x>0"), ("\\{-2,2\\}", "2"), ("\\pm 2", "2"), ("2, 3", "2"),
         ("2", "2, 3"), ("(1,-1),(2,0)", "(1,0),(2,-1)"), ("x=1,y=2", "x=2,y=1"), ("\\emptyset", "0"), ("1,2,2", "1,1,2,3")],
    ),
    "matrices": (
        [("\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}", "\\begin{bmatrix}1&0\\\\0&1\\end{bmatrix}"),
         ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ \\frac{4}{2} \\end{pmatrix}"),
         ("\\begin{pmatrix}x&1\\\\0&1\\end{pmatrix}", "\\begin{pmatrix}x & 1\\\\ 0 & 1\\end{pmatrix}")],
        [("\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}", "\\begin{pmatrix}0&1\\\\1&0\\end{pmatrix}"),
         ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
         ("\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}", "1")],
    ),
    "equations and ratios": (
        [("y=2x+1", "y = 1 + 2x"), ("y=2x+1", "2x-y+1=0"), ("x^2+y^2=4", "y^2+x^2=4"), ("x^2+y^2=4", "2x^2+2y^2=8"),
         ("x+y=3", "3=x+y"), ("x=5", "5"), ("2:3", "\\frac{2}{3}"), ("2:3", "4:6"), ("1:2:3", "2:4:6"), ("x<5", "5>x"),
         ("y=x^2", "x^2=y"), ("x-3y=0", "3y-x=0"), ("3:4", "3 : 4"), ("x\\neq 1", "1 \\ne x")],
        [("y=2x+1", "y=2x"), ("x^2+y^2=4", "x^2+y^2=2"), ("2:3", "3:2"), ("1:2:3", "1:3:2"), ("x<5", "x>5"), ("x=5", "x=6"),
         ("x+y=3", "x-y=3"), ("5", "10/2=6"), ("5", "x+y=5"), ("x<5", "x=5")],
    ),
    "units, degrees, bases": (
        [("5 \\text{ m}", "500 \\text{ cm}"), ("5 \\text{ cm}", "5"), ("5", "5 \\text{ cm}"), ("36 \\text{ km/h}", "10 \\text{ m/s}"),
         ("2 hours", "120 minutes"), ("3 feet", "1 yard"), ("90 minutes", "1.5 hours"), ("1 mile", "5280 feet"),
         ("10\\text{ cm}^2", "10"), ("60^\\circ", "60"), ("60^\\circ", "60 degrees"), ("1010_2", "1010_{2}"), ("12_{5}", "12_5"),
         ("12\\text{ inches}", "1\\text{ foot}"), ("5\\text{ units}", "5"), ("24\\pi\\text{ cm}^3", "24\\pi")],
        [("5 \\text{ m}", "5 \\text{ cm}"), ("5 \\text{ m}", "5 \\text{ s}"), ("2 hours", "2 minutes"), ("60^\\circ", "61^\\circ"),
         ("1010_2", "1010_3"), ("36 \\text{ km/h}", "36 \\text{ m/s}"), ("100 \\text{ cm}^2", "1 \\text{ m}^2")],
    ),
    "several forms at once": (
        [("\\frac{1+\\sqrt{5}}{2}", "\\frac{\\sqrt5+1}{2}"), ("x=\\frac{-1\\pm\\sqrt{5}}{2}", "\\frac{-1+\\sqrt5}{2}, \\frac{-1-\\sqrt5}{2}"),
         ("\\left(\\frac{1}{2}, \\frac{\\sqrt{3}}{2}\\right)", "(\\cos 60^\\circ, \\sin 60^\\circ)"), ("\\$1{,}234.50", "1234.5"),
         ("\\frac{\\pi}{4}", "0.25\\pi"), ("3.2\\times10^{-4}", "0.00032"), ("3.2\\times10^{-4}", "3.2e-4"), ("x\\in(1,2)", "(1,2)"),
         ("\\dfrac{9}{7}", "1\\frac{2}{7}"), ("-\\infty", "-∞"), ("\\lfloor 3.7 \\rfloor", "3"), ("2+\\sqrt{3}", "\\frac{1}{2-\\sqrt{3}}"),
         ("\\{x \\mid x>2\\}", "(2,\\infty)"), ("a_n=2n-1", "2n-1"), ("k=-1,\\ b=4", "b=4,\\ k=-1")],
        [("\\frac{1+\\sqrt{5}}{2}", "\\frac{1-\\sqrt{5}}{2}"), ("3.2\\times10^{-4}", "3.2\\times10^{4}"), ("\\$1{,}234.50", "1,234"),
         ("x\\in(1,2)", "[1,2]"), ("\\dfrac{9}{7}", "1\\frac{3}{7}"), ("-\\infty", "\\infty"), ("a_n=2n-1", "2n+1"),
         ("x=\\frac{-1\\pm\\sqrt{5}}{2}", "\\frac{-1+\\sqrt5}{2}"), ("\\lfloor 3.7 \\rfloor", "4"), ("100", "100 \\text{ or so, maybe } 101"),
         ("2+\\sqrt{3}", "2-\\sqrt{3}"), ("k=-1,\\ b=4", "k=4,\\ b=-1")],
    ),
    "dates and times": (
        [("\\text{June 5, 2021}", "2021-06-05"), ("June 5, 2021", "5 June 2021"), ("June 5", "June 5th"), ("June 5", "the 5th of June"),
         ("2021-06-05", "6/5/2021"), ("Friday, May 7", "May 7"), ("July 4 1776", "July 4, 1776"), ("Sept. 3", "September 3"),
         ("3:30 \\text{ PM}", "3:30 p.m."), ("3:30 PM", "15:30"), ("3:30 PM", "3:30"), ("10:05", "10:05 \\text{ a.m.}"),
         ("2:15 \\text{ p.m.}", "\\text{2:15 PM}"), ("6", "\\text{6 PM}"), ("6{:}00", "6:00"), ("noon", "12:00 p.m."), ("12:30 a.m.", "0:30")],
        [("June 5", "June 6"), ("June 5", "July 5"), ("June 5, 2021", "June 5, 2022"), ("3:30 PM", "3:30 AM"), ("3:30 PM", "3:31 PM"),
         ("10:05", "10:50"), ("2021-06-05", "2021-06-06"), ("15:30", "3:30 AM"), ("6 PM", "7"), ("12:00 AM", "noon"), ("May 5", "5 marbles")],
    ),
    "what is named": (
        [("S_{ABC}:S=7:32", "7:32"), ("AB:BC=2:3", "\\frac{2}{3}"), ("a:b:c=1:2:3", "1:2:3"), ("(x,y)=(1,2)", "x=1,y=2"),
         ("(x,y)=(1,2)", "y=2, x=1"), ("(1,2)", "x=1 \\text{ and } y=2"), ("f(x)=x^2+1", "f(t)=t^2+1"), ("f(x)=2x", "y=2x"),
         ("f(x,y)=x-y", "f(a,b)=a-b"), ("x = 2, -2", "x_1=2, x_2=-2"), ("\\vec{v}=(1,2)", "(1,2)"), ("x=2,-2", "\\pm 2"),
         ("2k\\pi, k\\in\\mathbb{Z}", "2\\pi n, n \\in \\mathbb{Z}"), ("4n+1 \\text{ for any integer } n", "4k+1, \\text{ where } k \\text{ is an integer}"),
         ("\\mathbf{i}+2\\mathbf{j}", "\\hat{i}+2\\hat{j}"), ("C", "C. 42"), ("B", "\\text{B) } 7"), ("\\text{A and C}", "A, C")],
        [("S_{ABC}:S=7:32", "7:33"), ("AB:BC=2:3", "3:2"), ("a:b:c=1:2:3", "3:2:1"), ("(x,y)=(1,2)", "x=2,y=1"), ("(1,2)", "x=2,y=1"),
         ("f(x)=x^2", "f(t)=x^2"), ("f(x,y)=x-y", "f(a,b)=b-a"), ("2k\\pi, k\\in\\mathbb{Z}", "k\\pi, k\\in\\mathbb{Z}"), ("4n+1", "4k+3"),
         ("C", "D. 42"), ("C", "C. 42 or D. 43"), ("\\bar{z}", "z"), ("\\text{A and C}", "A, B"), ("(1,2)", "x=1,x=2")],
    ),
    "sets of numbers": (
        [("\\mathbb{R}", "(-\\infty,\\infty)"), ("x\\in\\mathbb{R}", "\\text{all real numbers}"), ("\\mathbb{R}\\setminus\\{0\\}", "x\\ne 0"),
         ("\\mathbb{R}\\setminus\\{1,-1\\}", "(-\\infty,-1)\\cup(-1,1)\\cup(1,\\infty)"), ("(-\\infty,2)\\cup(2,\\infty)", "x\\neq 2"),
         ("x\\ne 1 \\text{ and } x\\ne 2", "\\mathbb{R}\\setminus\\{2,1\\}"), ("\\emptyset", "\\text{no solution}"), ("x<1 \\text{ or } x>3", "(-\\infty,1)\\cup(3,\\infty)"),
         ("\\text{DNE}", "does not exist"), ("\\text{no real solutions}", "no real solution")],
        [("\\mathbb{R}", "(0,\\infty)"), ("\\mathbb{R}\\setminus\\{0\\}", "\\mathbb{R}"), ("x\\ne 1", "x\\ne 2"), ("\\emptyset", "\\mathbb{R}"),
         ("\\mathbb{R}\\setminus\\{1,-1\\}", "x\\ne 1"), ("\\mathbb{Z}", "\\mathbb{R}"), ("0", "\\text{no solution}")],
    ),
    "quantities of two parts, letters for units, bases": (
        [("5 \\text{ ft } 6 \\text{ in}", "66 \\text{ in}"), ("2 \\text{ hours } 30 \\text{ minutes}", "150 \\text{ minutes}"),
         ("2 hours and 30 minutes", "2.5 hours"), ("30^\\circ 15'", "30.25^\\circ"), ("1.5 \\mathrm{~km}", "1500 m"), ("45^o", "45^\\circ"),
         ("9.8 \\mathrm{~m} / \\mathrm{s}^{2}", "9.8 m/s^2"), ("4BC_{16}", "4bc_{16}"), ("52_8", "52_{\\text{eight}}"), ("\\text{12 apples}", "12"),
         ("Rs. 500", "500"), ("18.9 \\text{ USD}", "\\$18.90")],
        [("5 \\text{ ft } 6 \\text{ in}", "65 \\text{ in}"), ("2 hours and 30 minutes", "2 hours"), ("30^\\circ 15'", "30.15^\\circ"),
         ("1.5 \\mathrm{~km}", "15 m"), ("4BC_{16}", "4BD_{16}"), ("52_8", "52_{\\text{nine}}"), ("\\text{12 apples}", "\\text{13 apples}"),
         ("5m", "5n")],
    ),
    "other spellings": (
        [("0.\\dot{3}", "1/3"), ("0.333...", "1/3"), ("0.1666\\ldots", "\\frac16"), ("0.\\dot{1}4285\\dot{7}", "\\frac17"), ("{10 \\choose 3}", "120"),
         ("C_{10}^{3}", "120"), ("{}_{10}C_3", "120"), ("\\frac{10!}{3!7!}", "120"), ("\\lg 100", "2"), ("{3 \\over 4}", "0.75"),
         ("\\operatorname{cis} 60^\\circ", "\\cos 60^\\circ + i\\sin 60^\\circ"), ("\\tg 45^\\circ", "1"), ("\\|(-3)\\|", "3"), ("3 x 10^8", "300000000"),
         ("\\left[\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right]", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"), ("\\approx 3.14", "3.14"),
         ("3 to 4", "3:4"), ("\\color{red}{5}", "5"), ("\\underline{5}", "5"), ("\\\\frac{1}{2}", "0.5")],
        [("0.333...", "0.334"), ("0.\\dot{3}", "0.3"), ("C_{10}^{3}", "720"), ("{10 \\choose 3}", "30"), ("\\lg 100", "\\ln 100"), ("3.14159...", "\\pi"),
         ("3 to 4", "4:3")],
    ),
    "text": (
        [("\\text{yes}", "yes"), ("Yes", "yes"), ("\\text{no solution}", "no solution"), ("A", "\\text{A}"), ("B", "(B)"),
         ("\\text{Monday}", "Monday"), ("C", "\\textbf{(C)}"), ("even", "\\text{Even}"), ("\\infty", "∞")],
        [("yes", "no"), ("A", "B"), ("Monday", "Tuesday"), ("\\text{no solution}", "0"), ("C", "C or D"), ("odd", "even")],
    ),
    "second thoughts": (
        [("33\\frac{1}{3}\\%", "\\frac13"), ("\\begin{pmatrix} 3 & -1 \\end{pmatrix}", "(3,-1)"), ("\\textbf{(D)}\\ 15", "D"),
         ("\\textbf{(D)}\\ 15", "15"), ("[[1,2],[3,4]]", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"), ("|AB| = 5", "5"),
         ("5 \\text{ hours}", "300 \\text{ min}"), ("oo", "\\infty"), ("\\pi", "3.141593"), ("\\pi+1", "4.14159265")],
        [("\\pi", "3.14"), ("\\pi", "3.141592"), ("\\textbf{(D)}\\ 15", "C"), ("\\textbf{(D)}\\ 15", "16"),
         ("[[1,2],[3,4]]", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"), ("x+y=5", "5"), ("33\\frac{1}{3}\\%", "33.3\\%")],
    ),
    "how it looks": (
        [("5", "{\\bf 5}"), ("5", "\\large{5}"), ("5", "5 \\qquad \\blacksquare"), ("5", "**5**"), ("5", "`5`"), ("x=5", "x = 5。"),
         ("2,3", "2、3"), ("1/3", "0.\\bar{3}"), ("0.(3)", "1/3"), ("3\\sqrt{13}", "3√13"), ("3\\sqrt{13}", "3sqrt13"),
         ("5", "\\overline{AB} = 5"), ("No", "\\text{No}"), ("No", "no"), ("x=1, y=2", "\\begin{cases}x=1\\\\y=2\\end{cases}"),
         ("1,2,3", "1 \\text{, } 2 \\text{, and } 3"), ("5", "\\mathbf{x = 5}"), ("101_2", "101 \\text{ (base 2)}"), ("101_2", "(101)_2"),
         ("[0,1)", "\\{x \\in \\mathbb{R} : 0 \\le x < 1\\}"), ("3:2", "3\\text{ to }2"), ("2^{3^2}", "2**3**2")],
        [("\\{1,2\\}", "\\{\\{1\\},\\{2\\}\\}"), ("5", "{\\bf 6}"), ("1/3", "0.\\bar{4}"), ("3\\sqrt{13}", "3√1 \\cdot 3"), ("No", "\\text{Not}"), ("101_2", "101 \\text{ (base 3)}"),
         ("\\emptyset", "\\{\\emptyset\\}"), ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}"),
         ("x=1, y=2", "\\begin{cases}x=2\\\\y=1\\end{cases}")],
    ),
    "words behind a number": (
        [("5000000", "5 million"), ("\\$5 \\text{ million}", "5,000,000"), ("1.2 \\text{ billion dollars}", "\\$1200 \\text{ million}"),
         ("0.05", "5 \\text{ hundredths}"), ("15 \\text{ minutes}", "15 min"), ("30 sec", "30 seconds"),
         ("15.5 min", "15 min 30 sec"), ("\\sec 0", "1"), ("6 \\text{ boys and } 4 \\text{ girls}", "6 boys and 4 girls"),
         ("10 \\text{ m/s}", "10\\ \\mathrm{m\\,s^{-1}}"), ("10 \\text{ m/s}", "10 \\frac{\\text{m}}{\\text{s}}"),
         ("36 \\text{ km/h}", "36 \\frac{\\text{km}}{\\text{h}}"), ("5.6 \\times 10^{-7} \\text{ m}", "560 \\text{ nm}"),
         ("300 K", "300 \\text{ K}"), ("5 \\Omega", "5 \\text{ ohms}"), ("2.5 \\text{ L}", "2500 mL"), ("7 \\text{ R } 2", "7 \\text{ remainder } 2")],
        [("5", "5 \\text{ million}"), ("5", "5 thousand"), ("5", "5 \\text{ squared}"), ("5", "5 \\text{ factorial}"), ("5", "5 \\text{ tenths}"),
         ("6 \\text{ boys and } 4 \\text{ girls}", "4 boys and 6 girls"), ("10 \\text{ m/s}", "10 \\frac{\\text{s}}{\\text{m}}"),
         ("5 \\text{ MW}", "5 \\text{ mW}"), ("7 \\text{ R } 2", "7 \\text{ R } 3"), ("5", "5 \\text{ and } 6")],
    ),
    "currencies": (
        [("\\$0.50", "50 \\text{ cents}"), ("50¢", "\\$0.50"), ("€5", "5 euros"), ("£5", "5 pounds"), ("5 dollars", "\\$5.00"), ("5 cents", "5")],
        [("\\$3", "3 \\text{ cents}"), ("\\$3", "€3"), ("$3", "€3"), ("$3", "3 cents"), ("5 dollars", "5 euros"), ("50 \\text{ cents}", "\\$50"), ("₹5", "\\$5")],
    ),
    "congruences and cases": (
        [("x \\equiv 2 \\pmod{5}", "x \\equiv 2 \\pmod 5"), ("x \\equiv 2 \\pmod{5}", "2 \\pmod 5"),
         ("x \\equiv 12 \\pmod{35}", "x ≡ 12 (mod 35)"), ("x \\equiv 2 \\pmod{5}", "2"),
         ("\\begin{cases} x^2 & \\text{if } x>0 \\\\ 0 & \\text{otherwise}\\end{cases}", "\\begin{cases} x\\cdot x, & x>0 \\\\ 0, & \\text{otherwise}\\end{cases}")],
        [("x \\equiv 2 \\pmod{5}", "x \\equiv 3 \\pmod 5"), ("x \\equiv 2 \\pmod{5}", "x \\equiv 2 \\pmod 7"), ("5", "12 \\bmod 7"),
         ("\\begin{cases} x^2 & x>0 \\\\ 0 & x\\le 0\\end{cases}", "\\begin{cases} x^3 & x>0 \\\\ 0 & x\\le 0\\end{cases}"),
         ("\\begin{cases} x^2 & x>0 \\\\ 0 & x\\le 0\\end{cases}", "\\begin{cases} x^2 & x\\le 0 \\\\ 0 & x>0\\end{cases}")],
    ),
    "numbers in words": (
        [("21", "twenty-one"), ("7", "\\text{seven}"), ("305", "three hundred and five"), ("1200", "one thousand two hundred"),
         ("1200", "twelve hundred"), ("2/3", "two thirds"), ("1/2", "one-half"), ("seven", "7"), ("2000300", "two million three hundred")],
        [("7", "seventy"), ("7", "seven or eight"), ("3", "third"), ("100", "hundred"), ("3", "two one"), ("1000000", "one million thousand"),
         ("2001000", "one thousand two million"), ("10000", "one hundred hundred"), ("12", "ten two"), ("0", "and")],
    ),
    "logarithms without a base": (
        [("\\log 100", "2"), ("2", "\\log 100"), ("\\log 2", "0.301030"), ("\\log 2", "\\ln 2"), ("\\log_{10} 2", "\\log 2")],
        [("\\ln 2", "\\log_{10} 2"), ("\\log 2", "\\log 3"), ("\\ln 100", "2")],
    ),
    "words, looser": (
        [("\\text{circle}", "\\text{a circle}"), ("the ellipse", "ellipse"), ("\\text{Yes}", "YES"), ("\\text{Alice and Bob}", "\\text{Bob and Alice}"),
         ("ABCD", "\\text{ABCD}"), ("\\text{infinitely many}", "infinitely many solutions"), ("\\emptyset", "\\text{There is no solution}")],
        [("YES", "no"), ("\\text{Alice and Bob}", "\\text{Alice and Carol}"), ("\\text{Ann, Bob, Cid}", "\\text{Bob, Ann, Cid}")],
    ),
    "matrices and vectors as sums": (
        [("\\frac{1}{5}\\begin{pmatrix} 1 & -2 \\\\ 0 & 5 \\end{pmatrix}", "\\begin{pmatrix} 1/5 & -2/5 \\\\ 0 & 1 \\end{pmatrix}"),
         ("\\begin{pmatrix}1\\\\2\\end{pmatrix}+t\\begin{pmatrix}3\\\\4\\end{pmatrix}", "\\begin{pmatrix}1+3t\\\\2+4t\\end{pmatrix}"),
         ("(3,-2)", "3\\mathbf{i}-2\\mathbf{j}"), ("3\\mathbf{i}-2\\mathbf{j}", "\\langle 3,-2\\rangle"),
         ("\\begin{pmatrix}0\\\\1\\\\1/2\\end{pmatrix}", "\\hat{j}+\\frac12\\hat{k}"), ("(\\pm 1, \\pm 2)", "(1,2),(1,-2),(-1,2),(-1,-2)"),
         ("(1,2),(-1,2)", "(\\pm1,2)")],
        [("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}+1"), ("(3,-2)", "3\\mathbf{i}+2\\mathbf{j}"), ("(3,2)", "3+2i"),
         ("(1,0)", "i"), ("(\\pm 1, 2)", "(1,2)"), ("(\\pm 1, \\pm 2)", "(1,2),(-1,-2)"),
         ("\\begin{pmatrix} 1 & -2 \\\\ 0 & 5 \\end{pmatrix}", "2\\begin{pmatrix} 1 & -2 \\\\ 0 & 5 \\end{pmatrix}")],
    ),
    "temperatures": (
        [("45^\\circ\\text{C}", "45"), ("45", "45^\\circ C"), ("45^\\circ C", "45 degrees Celsius"), ("45^\\circ C", "45 \\text{ degrees Celsius}"),
         ("45^\\circ C", "45^\\circ"), ("20^\\circ\\text{C}", "68^\\circ\\text{F}"), ("-5^\\circ\\text{F}", "-5")],
        [("20^\\circ\\text{C}", "20^\\circ\\text{F}"), ("20^\\circ\\text{C}", "21^\\circ")],
    ),
    "constants of integration": (
        [("\\frac{x^3}{3}+C", "\\frac{x^3}{3} + K"), ("\\frac{x^3}{3}+C", "c + \\frac13 x^3"), ("y = C_1 e^{x} + C_2 e^{-x}", "y = c_1 e^{x} + c_2 e^{-x}"),
         ("y=\\sin x+C", "y = k + \\sin x")],
        [("\\frac{x^3}{3}+C", "\\frac{x^3}{3}"), ("\\frac{x^3}{3}+C", "\\frac{x^3}{3}+d"), ("\\frac{x^3}{3}+C", "\\frac{c x^3}{3}"),
         ("\\frac{x^3}{3}+C", "\\frac{x^3}{3}+2"), ("y = C_1 e^{x} + C_2 e^{-x}", "y = c_1 e^{x} + c_1 e^{-x}"), ("a+b+C", "a+b+k+1")],
    ),
    "nothing in front of something": ([("\\{\\}", "\\emptyset")], [("2", "\\{x\\in"), ("2", "\\emptyset 2"), ("2", "\\{\\}2"), ("\\emptyset", "\\emptyset 2")]),
    "names and order": (
        [("a=1, b=2", "1, 2"), ("x_1=2, x_2=3", "3, 2"), ("x=-1, x=2", "2, -1"), ("y=\\frac{1}{1-x}", "y(x)=\\frac{1}{1-x}"), ("(1,\\pm 2)", "(1,2),(1,-2)"),
         ("\\frac{\\pi}{4}+k\\pi \\ (k\\in\\mathbb{Z})", "\\frac{(4n+1)\\pi}{4}, n \\in \\mathbb{Z}")],
        [("a=1, b=2", "2, 1"), ("x=1, y=2, z=3", "3, 2, 1"), ("y=\\frac{1}{1-x}", "z(x)=\\frac{1}{1-x}"),
         ("(x,y) = (1,2)", "(y,x) = (1,2)")],
    ),
    "spellings of models": (
        [("3.14", "about 3.14"), ("3.14", "\\text{approximately } 3.14"), ("3.14", "approximately $3.14$"), ("\\frac{3}{4}", "\\nicefrac{3}{4}"),
         ("1+2i", "1+2\\imath"), ("[2,5]", "\\lbrack 2,5 \\rbrack"), ("(0,1)\\cup(2,3)", "(0,1)\\bigcup(2,3)"), ("x \\neq 2", "x \\not= 2"),
         ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1 & 2 \\\\[5pt] 3 & 4\\end{pmatrix}"),
         ("\\begin{pmatrix}1&2\\\\ \\hline 3&4\\end{pmatrix}", "\\begin{Bmatrix}1&2\\\\3&4\\end{Bmatrix}"),
         ("\\begin{pmatrix}1\\\\-2\\end{pmatrix}", "\\left<1,-2\\right>"), ("120^\\circ", "m\\angle B = 120^\\circ"),
         ("120^\\circ", "\\frac{2\\pi}{3} \\text{ radians}"), ("\\frac{\\pi}{6} \\text{ rad}", "30^\\circ"),
         ("\\frac{x+2}{7}", "f^{-1}(x)=\\frac{x+2}{7}"), ("f^{-1}(x)=\\frac{x+2}{7}", "y=\\frac{x+2}{7}")],
        [("3.14", "about 3.15"), ("3.14", "about 3 or 4"), ("\\frac{3}{4}", "\\nicefrac{4}{3}"), ("120^\\circ", "120 \\text{ radians}"), ("\\frac{\\pi}{6} \\text{ rad}", "60^\\circ"),
         ("\\begin{pmatrix}1\\\\-2\\end{pmatrix}", "\\left<-2,1\\right>"), ("f^{-1}(x)=\\frac{x+2}{7}", "f(x)=\\frac{x+2}{7}"), ("1 < x", "<1, 2>")],
    ),
    "joined inequalities": (
        [("(-\\infty,2)\\cup(3,\\infty)", "x < 2 \\quad\\text{or}\\quad x > 3"), ("(-\\infty,2)\\cup(3,\\infty)", "(-\\infty,2) \\text{ or } (3,\\infty)"),
         ("(-\\infty,2)\\cup(3,\\infty)", "x < 2 \\lor x > 3"), ("[2,5]", "x \\geq 2 \\text{ and } x \\leq 5"), ("(2,5]", "x \\leq 5 \\text{ and } 2 < x")],
        [("(-\\infty,2)\\cup(3,\\infty)", "x < 2 \\quad\\text{and}\\quad x > 3"), ("(-\\infty,2)\\cup(3,\\infty)", "(-\\infty,2] \\text{ or } (3,\\infty)"),
         ("[2,5]", "x > 2 \\text{ and } x \\leq 5"), ("[2,5]", "x \\geq 2 \\text{ and } y \\leq 5"), ("[2,5]", "x \\geq 2 \\text{ or } x \\leq 5"), ("2,5", "x \\geq 2 \\text{ and } x \\leq 5")],
    ),
    "commas inside of numbers": (
        [("123,456", "123456"), ("123,456", "123, 456"), ("1,000,000", "$1000000$")],
        [("123,456", "456,123"), ("1,000,000", "1,000"), ("1,000,000", "1, 0, 0"), ("1,000", "0, 1"), ("1,123,123", "1,123"), ("$123,456$", "456,123")],
    ),
    "money and other units": (
        [("\\$5 \\text{ per hour}", "\\$5")],
        [("\\$4.50", "4.5\\%"), ("\\$5", "5 \\text{ cm}"), ("5 \\text{ cm}", "\\$5"), ("5\\%", "\\$5"), ("30^\\circ", "\\$30")],
    ),
    "not a value": (
        [("\\gcd(84,126)", "\\gcd(84,126)")],
        [("42", "\\gcd(84,126)"), ("7", "\\max(3,7)"), ("5050", "\\sum_{k=1}^{100} k"), ("1/3", "\\int_0^1 x^2 dx"), ("6", "x=2,x=3"),
         ("1", "\\lim_{x\\to 0}\\frac{\\sin x}{x}"), ("3", "x^2=9"), ("(-2,2)", "x^2<4"), ("2x", "\\frac{d}{dx}x^2"),
         ("42", "41=42"), ("12", "3+4=12"), ("42", "41+1=43"), ("1,2,\\ldots,10", "1,2,10")],
    ),
    "what stands around an answer": (
        [("1/9", "\\text{1/9}"), ("-90822", "\\text{-90,822}"), ("47/8", "\\text{5 7/8}"), ("7:9", "{7:9}"), ("2", "\\text{The answer is } 2"), ("2", "The answer is 2"),
         ("2", "= 2"), ("2", "\\therefore 2"), ("2", "2\\ "), ("2", "$\\approx 2$"), ("2", "\\emph{2}"), ("2", "\\mathsf{2}"), ("-7+i", "$\\mathbf{-7+i}$"), ("\\frac{x}{2}", "\\boldsymbol{\\frac{x}{2}}"),
         ("{16, 5}", "\\text{The solutions are } 16, 5"), ("(3,4)", "\\text{the point } (3,4)"), ("\\text{maximum } 5", "5"), ("5", "\\text{The area is } 5"), ("5", "\\text{Area: } 5"),
         ("7:57 PM", "\\(7:57 pm\\)"), ("7:57 PM", "$7:57$ PM"), ("7:57 PM", "at 7:57\\,\\text{PM}"), ("9:43 AM", "9\\colon43\\text{ AM}"), ("March 21, 1990", "\\(March 21st, 1990\\)"),
         ("March 21, 1990", "on March 21, 1990"), ("March 21, 1990", "\\text{March }21^{\\text{st}}, 1990"), ("March 21, 1990", "21.03.1990"), ("March 21, 1990", "21-Mar-1990"),
         ("odd", "``odd''"), ("odd", "'odd'"), ("red", "**red**."), ("A", "Answer: A"), ("\\textbf{(A)}", "{\\text{Option } A}"), ("E", "{\\textbf{(E)}\\ 3}"), ("2101_4", "{2101 \\text{ (base 4)}}"),
         ("2101_4", "\\left(2101\\right)_{4}"), ("2101_4", "{2101}_{4}"), ("2101_4", "2101_{\\text{base }4}"), ("2101_4", "2101_{(4)}"), ("2101_4", "\\overline{2101}_{4}"), ("5 7/8", "5{\\frac{7}{8}}")],
        [("2", "\\text{The answer is not } 2"), ("2", "\\text{The answer is at least } 2"), ("2", "\\text{twice } 2"), ("2", "\\text{negative } 2"), ("7:57 PM", "at 7:58 PM"),
         ("March 21, 1990", "22.03.1990"), ("-7+i", "$\\mathbf{-7-i}$"), ("A", "Answer: B"), ("2101_4", "{2101}_{5}"), ("{16, 5}", "\\text{The solutions are } 16, 6"), ("42", "= 41 = 42"),
         ("\\text{even}", "odd = even"), ("C", "B = C"), ("7", "7 \\sim 8"), ("-7+i", "-7+i \\sim -7-i"), ("1/2", "\\frac12 \\approx 0.7")],
    ),
    "a brace belongs to what opened it": (
        [("1/2", "\\sin{30^\\circ}"), ("\\frac{60^\\circ}{2}", "30^\\circ"), ("-1/2", "\\frac{\\cos 180^\\circ}{2}"), ("8°", "{8^\\circ}"), ("8^\\circ", "8^{\\text{o}}"), ("8^\\circ", "8˚"),
         ("1/18", "\\frac{0.\\dot 1}{2}"), ("1/18", "\\frac{0.\\overline 1}{2}"), ("(5\\sqrt3, 7/15)", "\\begin{pmatrix}5\\sqrt{3}\\\\\\frac{7}{15}\\end{pmatrix}")],
        [("1/2", "\\sin{60^\\circ}"), ("\\frac{60^\\circ}{2}", "60^\\circ")],
    ),
    "whose inequality": (
        [("x>3", "3<x"), ("x>3", "(3,\\infty)"), ("(3,\\infty)", "y>3"), ("x>3", "\\{t \\mid t>3\\}"), ("\\{t \\mid t>3\\}", "x>3"), ("x<1 \\text{ or } x>3", "\\{y \\mid y<1 \\text{ or } y>3\\}"),
         ("x\\in[1,2]", "1 \\le x \\le 2"), ("|a|>1", "a>1 \\text{ or } a<-1"), ("[0,4]\\cup[7,12]", "[0,4] \\text{ or } [7,12]"), ("[0,4]\\cup[7,12]", "[0,4] U [7,12]"),
         ("[0,4]\\cup[7,12]", "\\{x | 0\\le x\\le 4\\} \\cup \\{x | 7\\le x\\le 12\\}"), ("[7,8]", "x \\ge 7 \\land x \\le 8"), ("[7,8]", "\\left\\{x\\,\\middle|\\,7 \\le x \\le 8\\right\\}"),
         ("(-\\infty,-2]\\cup[3,\\infty)", "x\\le -2, x\\ge 3"), ("x\\le -2, x\\ge 3", "(-\\infty,-2]\\cup[3,\\infty)"), ("(x,y)=(1,2) \\text{ or } (x,y)=(3,4)", "(3,4),(1,2)")],
        [("x>3", "y>3"), ("x>3", "X>3"), ("x\\in[1,2]", "1 \\le y \\le 2"), ("x<1 \\text{ or } x>3", "x<1 \\text{ or } y>3"), ("x<1 \\text{ or } x>3", "y<1 \\text{ or } y>3"), ("|a|>1", "b>1 \\text{ or } b<-1"),
         ("(-\\infty,-2]\\cup[3,\\infty)", "x\\le -2 \\land x\\ge 3"), ("[0,4]\\cup[7,12]", "[0,4] \\text{ and } [7,12]"), ("x \\ne 2", "y \\ne 2")],
    ),
    "all but some points": (
        [("\\mathbb{R}\\setminus\\{-7,-4\\}", "x \\neq -7, -4"), ("\\mathbb{R}\\setminus\\{-7,-4\\}", "x \\in \\mathbb{R} \\setminus \\{-4,-7\\}"), ("\\mathbb{R}\\setminus\\{-7,-4\\}", "x \\neq -7 \\text{ and } -4"),
         ("x \\ne -7, x \\ne -4", "\\{x \\in \\mathbb{R} \\mid x \\neq -7, -4\\}"), ("x \\ne -7, x \\ne -4", "x \\in \\mathbb{R}, x \\neq -7, -4"), ("x \\ne -7, x \\ne -4", "\\mathbb{R} - \\{-7,-4\\}"),
         ("x \\ne 3", "\\text{all real numbers except } 3"), ("[-1,1]\\setminus\\{0\\}", "[-1,0)\\cup(0,1]"), ("(0,1)", "[0,1]\\setminus\\{0,1\\}"), ("(0,1)\\cup(1,2)\\cup(4,5)", "((0,2)\\cup(4,5))\\setminus\\{1\\}")],
        [("\\mathbb{R}\\setminus\\{-7,-4\\}", "x \\neq -7, 4"), ("\\mathbb{R}\\setminus\\{-7,-4\\}", "x \\neq -7"), ("[-1,1]\\setminus\\{0\\}", "[-1,1]"), ("(0,1)", "[0,1]\\setminus\\{0\\}"), ("x \\ne 3", "\\text{all real numbers except } 4")],
    ),
    "equations below each other, transposes, points, maps": (
        [("a=-8, b=2", "\\left\\{\\begin{array}{l}a=-8 \\\\ b=2\\end{array}\\right."), ("a=-8, b=2", "\\begin{aligned} a&=-8 \\\\ b&=2 \\end{aligned}"), ("a=-8, b=2", "a=-8 \\wedge b=2"),
         ("\\begin{pmatrix}2\\\\6\\end{pmatrix}", "(2,6)^T"), ("\\begin{pmatrix}2\\\\6\\end{pmatrix}", "\\begin{pmatrix}2&6\\end{pmatrix}^{\\top}"), ("\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^T"),
         ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\cr 3&4\\end{pmatrix}"), ("(2,6)", "2\\hat{\\mathbf{i}}+6\\hat{\\mathbf{j}}"), ("(2,6)", "2\\hat{\\imath}+6\\hat{\\jmath}"), ("(3,4)", "P(3,4)"),
         ("h(x)=4x^3+6x", "h: t \\mapsto 4t^3+6t"), ("h(x)=4x", "h(x)=4x, \\forall x \\in \\mathbb{R}"), ("h(x)=4x", "h(x)=4x, x \\in \\mathbb{R}"), ("y=8x+9", "f(x)=8x+9"), ("x=9\\pm\\sqrt6", "x_{1,2} = 9 +/- \\sqrt{6}")],
        [("\\begin{pmatrix}2\\\\6\\end{pmatrix}", "(6,2)^T"), ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^T"), ("(3,4)", "P(4,3)"), ("h(x)=4x", "h(x)=4x, x \\in \\mathbb{R}, 5"),
         ("y=8x+9", "f(x)=8x-9"), ("a=-8, b=2", "\\begin{aligned} a&=2 \\\\ b&=-8 \\end{aligned}")],
    ),
    "durations, lengths, areas": (
        [("1 h 30 min", "90 min"), ("362 minutes", "6h 2m"), ("6 hours and 2 minutes", "\\text{6 hours and 2 minutes}"), ("200 s", "3 min 20 s"), ("4 feet 3 inches", "4'3\""), ("51 inches", "4' 3''"),
         ("61 \\text{ cubic kilometers}", "61 \\text{ cubic units}"), ("\\$9", "USD 9"), ("\\$9", "\\textdollar 9"), ("19 \\mathrm{~N}", "19\\quad\\text{N}"), ("6\\text{ days}", "6 {\\rm days}"), ("10\\text{ m/s}", "10 \\mathrm{~m} \\cdot \\mathrm{s}^{-1}")],
        [("1 h 30 min", "1.3 h"), ("362 minutes", "6h 3m"), ("4 feet 3 inches", "4'4\""), ("61 \\text{ cubic kilometers}", "61 \\text{ square units}"), ("61 \\text{ km}", "61 \\text{ square units}"), ("10\\text{ m/s}", "10 \\mathrm{~m} \\cdot \\mathrm{s}^{-2}")],
    ),
    "what is said of what": (
        [("5/13", "\\sin A = \\frac{5}{13}"), ("4", "f'(2) = 4"), ("4", "f^{-1}(2) = 4"), ("4", "(f \\circ g)(2) = 4"), ("4", "\\int_0^2 2x\\,dx = 4"), ("4", "\\gcd(8,12) = 4"), ("4", "\\lim_{x\\to 2} x^2 = 4"),
         ("4", "\\frac{dy}{dx} = 4"), ("4", "\\left.\\frac{dy}{dx}\\right|_{x=2} = 4"), ("4", "\\max f = 4"), ("4", "f(x)_{\\max} = 4"), ("4", "\\det A = 4"), ("1/4", "P(A \\cap B) = \\frac14"), ("1/4", "P(X=1) = 1/4"),
         ("4", "\\text{Area of triangle } ABC = 4"), ("12\\pi", "V = 12\\pi \\approx 37.7"), ("6 \\times 7 = 42", "42"), ("x=2,3", "x_1=2, x_2=3"), ("x=2", "x_1=2"), ("-5 \\le x \\le 6", "I=[-5,6]"),
         ("\\textbf{(B)} 5", "5"), ("B) 5", "5"), ("B. 5", "B"), ("\\text{Choice B}", "B"), ("1.5", "\\frac32 \\text{ or } 1.5"), ("yes", "\\text{Yes, it converges}"), ("\\emptyset", "none"), ("\\mathbb{R}", "\\text{all real } x"),
         ("\\frac12", "1 \\over 2"), ("\\sqrt[3]{14}", "∛14"), ("\\sqrt[3]{14}", "³√14"), ("\\sqrt[3]{14}", "\\root 3 \\of {14}"), ("15\\pi \\mathrm{~m}^{2}", "15\\pi"), ("A483A_{12}", "A483A_{12}")],
        [("4", "f'(2) = 5"), ("4", "\\gcd(8,12)"), ("4", "\\gcd(8,12) = \\gcd(8,12)"), ("4", "\\gcd(8,12) = 4 = 5"), ("4", "P(X=4) = 3"), ("x=2, y=3", "x=2,3"), ("x_1=2", "x_2=2"), ("1.5", "\\frac32 \\text{ or } 1.6"),
         ("yes", "yes, no"), ("yes", "No, yes"), ("5", "5 \\text{?}"), ("5", "\\text{Either: } 5"), ("5", "\\text{It is false that the answer is: } 5"), ("A483A_{12}", "215470"), ("A483A_{12}", "215470_{12}"),
         ("y'=x", "y=x"), ("\\tan\\theta = 4", "\\tan\\alpha = 4")],
    ),
    "Chinese data": (
        [("k \\pi + \\frac{\\pi}{4}(k \\in \\mathbf{Z})", "\\frac{\\pi}{4}+n\\pi, n\\in\\mathbb{Z}"), ("a_{n}=2n-1(n\\in N^{*})", "a_n = 2n-1"), ("a_{n}=2n-1(n\\in \\mathbb{N}^{*})", "2n-1"),
         ("a=2 \\text{ 或 } a=3", "2, 3"), ("2, 3", "2或3"), ("-1或3", "-1, 3"), ("4厘米", "4"), ("4", "4\\text{厘米}"), ("3", "\\text{3个}"), ("甲", "\\text{甲}"), ("\\varnothing", "\\text{空集}"),
         ("\\mathrm{A}_{5}^{2}", "20"), ("20", "A_5^2"), ("9.8 \\mathrm{~N} / \\mathrm{kg}", "9.8 N/kg"), ("20 \\mathrm{~kg} \\cdot \\mathrm{m} / \\mathrm{s}", "20 \\text{ kg·m/s}"),
         ("20 \\mathrm{~N} \\cdot \\mathrm{m}", "20 J"), ("3.0 \\times 10^{8} \\mathrm{~m} \\cdot \\mathrm{s}^{-1}", "3.0e8 m/s"), ("5 \\Omega", "5 \\mathrm{~\\Omega}")],
        [("2, 3", "2或4"), ("4", "4或5"), ("甲", "乙"), ("4厘米", "5厘米"), ("a_{n}=2n-1(n\\in N^{*})", "a_n = 2n+1"), ("20 \\mathrm{~N} \\cdot \\mathrm{m}", "20 \\mathrm{~N} / \\mathrm{m}"),
         ("5", "5 \\text{ cm} \\text{or} 6"), ("20", "A_5^3")],
    ),
    "signs that few know": (
        [("1/9", "1⁄9"), ("8/3", "2⅔"), ("107/9", "11.8\\overline{8}"), ("0.8\\overline{5}", "0.8(5)"), ("\\frac{115}{9}", "12.7̅"), ("\\frac{4\\pi}{13}", "4𝜋/13"), ("x\\le 5", "x ≦ 5"), ("\\sqrt[3]{2}", "∛2"),
         ("\\binom{17}{4}", "^{17}C_{4}"), ("2380", "17C4"), ("2380", "17 \\text{ choose } 4"), ("2380", "\\mathrm{C}_{17}^{4}"), ("2380", "binom(17,4)"), ("-\\infty", "negative infinity"), ("\\infty", "positive infinity"),
         ("\\frac{7\\pi}{6}", "\\frac{7\\mathrm{\\pi}}{6}"), ("11:8:5", "11 to 8 to 5")],
        [("\\sqrt[3]{2}", "∜2"), ("0.8\\overline{5}", "0.8(6)"), ("2380", "17C5"), ("-\\infty", "positive infinity"), ("8/3", "2⅓")],
    ),
    "differences of one part in 2^2000": (
        [("\\frac{\\sqrt{4009}}{2^{2004}}", "\\sqrt{\\frac{4009}{2^{4008}}}"), ("\\sqrt{\\frac{2^{2009}-1}{3 \\cdot 2^{2008}-1}}", "\\frac{\\sqrt{2^{2009}-1}}{\\sqrt{3 \\cdot 2^{2008}-1}}"),
         ("2^{1006} \\sqrt{2^{2010}+2}-2^{2011}", "\\sqrt{2^{2012}}\\sqrt{2^{2010}+2}-2^{2011}"), ("0", "\\sqrt2\\sqrt3-\\sqrt6"), ("0", "\\sin(\\pi)"), ("0", "\\ln(\\sqrt2\\sqrt3/\\sqrt6)")],
        [("\\frac{\\sqrt{4009}}{2^{2004}}", "\\frac{\\sqrt{4010}}{2^{2004}}"), ("\\frac{\\sqrt{4009}}{2^{2004}}", "-\\frac{\\sqrt{4009}}{2^{2004}}"), ("0", "10^{-300}\\sqrt2"), ("1", "\\cos(10^{-60})"),
         ("\\sqrt{\\frac{2^{2009}-1}{3 \\cdot 2^{2008}-1}}", "\\sqrt{\\frac{2^{2009}-2}{3 \\cdot 2^{2008}-1}}"), ("2^{1006} \\sqrt{2^{2010}+2}-2^{2011}", "2^{1006} \\sqrt{2^{2010}+3}-2^{2011}"), ("1", "2^{10^{-100}}")],
    ),
    "rounded down and up": (
        [("\\lfloor\\frac{n}{2}\\rfloor", "\\lceil\\frac{n-1}{2}\\rceil"), ("\\lfloor\\frac{n}{2}\\rfloor", "\\frac{2n-1+(-1)^n}{4}"), ("m-\\lfloor m/2\\rfloor", "\\lceil m/2\\rceil")],
        [("\\lfloor\\frac{2n-1}{5}\\rfloor", "\\lfloor\\frac{2n-1}{6}\\rfloor"), ("\\lfloor\\frac{2n-1}{5}\\rfloor", "\\lfloor\\frac{2n-2}{5}\\rfloor"), ("\\lceil n/2\\rceil+1", "\\lceil n/3\\rceil+1"),
         ("c\\lfloor\\frac{c^2}4\\rfloor", "-c\\lfloor\\frac{c^2}4\\rfloor"), ("\\lfloor x\\rfloor", "x")],
    ),
    "equations between constants": (
        [("\\log(0.01)=-2", "-2"), ("6\\cdot7=42", "2\\cdot21=42"), ("\\log(0.01)=-2", "-2=\\log(0.01)")],
        [("\\log(0.01)=-2", "\\log(0.01)=-3"), ("\\log(0.01)=-2", "\\log(1.01)=-2"), ("6\\cdot7=42", "2\\cdot22=44"), ("p_Z(0)=\\frac12, q=3", "p_Z(0)=\\frac13, q=3"), ("x-x=2", "x-x=3")],
    ),
    "what a decimal behind \u2248 may illustrate": (
        [("\\sqrt{2}", "\\sqrt2 \\approx 1.41"), ("12\\pi", "12\\pi \\approx 37.68"), ("\\pi", "\\pi \\approx 3.14"), ("2/3", "x = \\frac23 \\approx 0.66"),
         ("\\log 200", "\\log 200 \\approx 2.3"), ("1/\\sqrt3 \\approx 58\\%", "1/\\sqrt3"), ("1/\\sqrt3", "1/\\sqrt3 \\approx 58\\%"),
         ("\\arctan 2", "\\arctan 2 \\approx 63.4^\\circ")],
        [("\\sqrt{2}", "\\sqrt2 \\approx 5"), ("12\\pi", "12\\pi \\approx 30"), ("\\cos(-2.01) \\approx -0.425", "\\cos(-2.01) \\approx -1.425"),
         ("2/3", "\\frac23 \\approx 0.7 \\approx 0.9")],
    ),
    "units and repetitions in chains and lists": (
        [("43", "x = 43 \\text{ min}"), ("5 m", "5 m = 500 cm"), ("16,3,1,1", "1,3,16,1"), ("16,3,1", "1,3,16,1")],
        [("43", "x = 43 \\text{ min} = 43 \\text{ Hz}"), ("43", "43 \\text{ min} = 43 \\text{ Hz}"), ("1,1,2,3", "2,1,2,3")],
    ),
    "inverse hyperbolic functions": (
        [("\\sinh^{-1}(2)", "\\ln(2+\\sqrt5)"), ("\\operatorname{arcosh}(2)", "\\ln(2+\\sqrt3)"), ("\\operatorname{arctanh}(1/2)", "\\frac12\\ln 3"),
         ("\\coth x", "\\frac{e^x+e^{-x}}{e^x-e^{-x}}"), ("\\sec^{-1} 2", "\\pi/3"), ("\\frac{\\pi}{2}-\\arctan 3", "\\operatorname{arccot} 3")],
        [("\\operatorname{arsinh}(2)", "\\ln(2+\\sqrt3)"), ("\\operatorname{arctanh}(1/2)", "\\ln 3")],
    ),
    "a number behind a factor": (
        [("$(n-2) 2^{n}+1$", "(n-2)\\cdot 2^n+1"), ("n 2^{n-2}", "n\\cdot 2^{n-2}"), ("\\binom{100}{50} 2^{98}", "\\binom{100}{50}\\cdot 2^{98}"),
         ("(-1)^n 2^{n-1} d^n (2a + nd)", "(-1)^n\\cdot 2^{n-1}\\cdot d^n(2a+nd)"), ("1.07  $10^{16}$ photons", "1.07 \\times 10^{16}"), ("20 \\cos(\\pi/6) 200", "2000\\sqrt3")],
        [("6", "2 3"), ("x^2", "x 2"), ("2", "x 2"), ("8", "2 2^2")],
    ),
    "spellings of data sets": (
        [("-1./3", "-\\frac13"), ("179^{\\circ} 59^{\\prime} 56^{\\prime \\prime}", "179°59'56''"), ("$5^{\\prime} 10.1^{\\prime \\prime}$", "5' 10.1''"),
         ("f''(x)=2x", "f^{\\prime\\prime}(x)=2x"), ("$\\quad(2+\\sqrt{2}, 1+\\sqrt{2})$", "(2+\\sqrt2,1+\\sqrt2)"), ("$\\approx 1.47$ miles/s", "1.47 \\text{ miles/s}"),
         ("2.14  ${\\circ}$", "2.14^\\circ"), ("35.91  ${ }^{\\circ} \\mathrm{C}$", "35.91"), ("\\frac{11}{2^{20}", "\\frac{11}{2^{20}}"), ("396 (degrees)", "396"),
         ("36 (sq. inches)", "36 square inches"), ("5", "5 in."), ("$\\textcircled{1}\\textcircled{3}\\textcircled{4}$", "①③④"), ("①③④", "1,3,4"), ("12  $Å$", "1.2 \\text{ nm}"),
         ("20 \\mathrm{~kg} \\cdot \\mathrm{m} / \\mathrm{s}", "20 kg m/s"), ("3920 \\mathrm{~N}-\\mathrm{m}", "3920 \\text{ J}"), ("9 \\pm \\sqrt6", "9 +- √6"),
         ("9 - \\sqrt6", "9 + -√6"), ("3/2", "1又1/2")],
        [("f''(x)=2x", "f^{\\prime}(x)=2x"), ("179^{\\circ} 59^{\\prime} 56^{\\prime \\prime}", "179°59'57''"), ("①③", "①④"), ("①③", "13"), ("20 kg m/s", "20 kg m"),
         ("3920 \\mathrm{~N}-\\mathrm{m}", "3920 \\text{ W}"), ("\\frac{11}{2^{20}", "\\frac{11}{2^{21}}"), ("9 \\pm \\sqrt6", "9 + -√6")],
    ),
    "names and phrases": (
        [("Vendor 2", "\\text{Vendor 2}"), ("Mrs. Hilt", "Mrs Hilt"), ("The 60th caller.", "the 60th caller")],
        [("Vendor 2", "vendor 3"), ("Mrs. Hilt", "Hilt")],
    ),
    "what else a golden answer may hold": (
        [("\\sum_{n=0}^{\\infty} \\frac{(n+1)(n+2)}{2} x^{n}, R=1", "\\sum_{n=0}^{\\infty} \\frac{(n+1)(n+2)}{2} x^{n}, R=1"), ("2  $10^{39}$", "2 \\times 10^{39}"),
         ("x_{0} \\cos (\\omega t)+$ $\\dot{x}_{0} \\sin (\\omega t) / \\omega", "x_0\\cos(\\omega t)+\\frac{\\dot{x}_0}{\\omega}\\sin(\\omega t)"), ("\\bar{x}_1", "\\bar x_{1}"),
         ("N(n)=\\lfloor\\frac{2 n}{3}\\rfloor+1", "N(k)=1+\\lfloor\\frac{2 k}{3}\\rfloor"), ("\\{x \\mid x\\ne -1\\}", "\\{y \\mid y\\ne -1\\}")],
        [("\\dot{x}_1", "\\dot{x}_2"), ("N(n)=\\lfloor\\frac{2 n}{3}\\rfloor+1", "N(n)=\\lfloor\\frac{2 n}{4}\\rfloor+1"), ("y=\\lfloor x/2 \\rfloor", "y=\\lfloor x/3 \\rfloor"),
         ("a=\\frac{1}{2}, Q(2,-2)", "a=\\frac{1}{2}, Q(2,-2]"), ("\\{x \\mid -2 \\leq x < 1\\}", "\\{y \\mid -2 \\leq x < 1\\}"),
         ("\\{x \\mid x\\ne -1\\}", "\\{y \\mid x\\ne -1\\}")],
    ),
    "sets of multiples": (
        [("\\{x|x=3k,k\\in \\mathbb{Z}\\}", "\\left\\{x \\mid x=3n, n\\in \\mathbb{Z}\\right\\}"), ("\\{x|x=3k,k\\in \\mathbb{Z}\\}", "x=3k, k\\in\\mathbb{Z}"),
         ("\\{x|x=3k,k\\in \\mathbb{Z}\\}", "\\{3k \\mid k\\in \\mathbb{Z}\\}"),
         ("x=2k\\pi+\\frac{\\pi}{3}, k\\in\\mathbb{Z}", "\\left\\{2n\\pi+\\frac{\\pi}{3} : n\\in \\mathbb{Z}\\right\\}")],
        [("\\{x|x=3k,k\\in \\mathbb{Z}\\}", "\\{x|x=4k,k\\in \\mathbb{Z}\\}"), ("\\{x|x=3k,k\\in \\mathbb{Z}\\}", "\\{4k \\mid k\\in \\mathbb{Z}\\}"),
         ("\\{3, 6\\}", "\\{3k \\mid k\\in \\mathbb{Z}\\}")],
    ),
    "plain units, pieces, integers": (
        [("\\{x|x=3k,\\,k\\in \\mathbb{Z}\\}", "\\{x|x=3k,\\ k\\in \\mathbb{Z}\\}"), ("-100 \\mathrm{~J}", "-100 J"), ("0.118 $\\mathrm{nm}$", "0.118 nm"),
         ("122 \\mathrm{~mA}", "0.122 A"), ("2nm", "2mn"), ("19", "19 N"), ("19 N", "19"),
         ("C(m)=\\left\\{\\begin{array}{rll}10 & \\text { if } & m \\leq 500 \\\\ m-500 & \\text { if } & m>500\\end{array}\\right.", "C(m)=\\begin{cases}10 & \\text{if } m\\le 500\\\\ m-500 & \\text{if } m>500\\end{cases}"),
         ("f(x)=\\begin{cases}1 & x>0\\\\ 0 & x\\le 0\\end{cases}", "f(x)=\\begin{cases}1, & \\text{for } x>0,\\\\ 0, & \\text{for } x\\le 0.\\end{cases}"),
         ("\\text{all positive integers}", "all positive integers"), ("x = 2k\\pi \\text{ for integers } k", "x = 2n\\pi \\text{ for integers } n")],
        [("-100 \\mathrm{~J}", "100 J"), ("0.118 $\\mathrm{nm}$", "0.118 m"), ("19 N", "19 J"), ("19N", "19"),
         ("f(x)=\\begin{cases}1 & x>0\\\\ 0 & x\\le 0\\end{cases}", "f(x)=\\begin{cases}1, & \\text{for } x>0,\\\\ 2, & \\text{for } x\\le 0.\\end{cases}"),
         ("\\text{all positive integers}", "\\text{all integers}")],
    ),
    "sets of real numbers": (
        [("[1,3]", "[1,2]\\cup[2,3]"), ("[1,2]\\cup[2,3]", "1\\le x\\le 3"), ("[1,3]", "[1,2)\\cup[2,3]"), ("(0,1)\\cup(1,\\infty)", "x>0, x\\neq 1"), ("(0,1)\\cup(1,\\infty)", "(0,\\infty)\\setminus\\{1\\}"),
         ("[2,4)\\cup(4,\\infty)", "\\{x \\mid x \\ge 2 \\text{ and } x\\neq 4\\}"), ("\\{0\\}\\cup[1,\\infty)", "x=0 \\text{ or } x\\ge 1"), ("k<-2 \\text{ or } k>2", "|k|>2"), ("(0,\\infty)", "\\mathbb{R}^+"), ("x \\ne 0", "\\mathbb{R}^*"),
         ("x\\ge 0", "\\mathbb{R}_{\\ge 0}"), ("x>0", "\\text{all positive real numbers}"), ("[-1,1)", "[-1, 1["), ("(0,1)\\cup(2,3)", "]0,1[ \\cup ]2,3["), ("\\mathbb{R}", "\\mathbf{R}"), ("A \\cap B", "B \\cap A"), ("[1,2]", "[0,2]\\cap[1,3]"),
         ("(-a, a)", "-a < x < a"), ("(-\\infty,\\sqrt2)\\cup(\\sqrt8,\\infty)", "x<2^{1/2} \\text{ or } x>2\\sqrt2")],
        [("[1,3]", "[1,2)\\cup(2,3]"), ("[1,3]", "[1,2]\\cup[3]"), ("(0,1)\\cup(1,\\infty)", "x\\neq 1"), ("(0,1)\\cup\\{2\\}", "(0,2)"), ("k<-2 \\text{ or } k>2", "|k|<2"), ("k<-2 \\text{ or } k>2", "|k|\\ge 2"), ("(0,\\infty)", "\\mathbb{R}^-"),
         ("x>0", "\\text{all nonnegative real numbers}"), ("[-1,1)", "]-1,1]"), ("A \\cap B", "A \\cup B"), ("2,3", "x=2 \\text{ and } x=4"), ("(-a, a)", "-a \\le x < a"), ("\\emptyset", "x=2, x=3")],
    ),
    "letters that are free": (
        [("x = \\pi k", "x = \\pi n, \\; n \\in \\mathbb{Z}"), ("x=k\\pi, k\\in\\mathbb{Z}", "x=\\pi n, n \\text{ integer}"), ("k\\pi, k\\in\\mathbb{Z}", "n\\pi \\text{ where } n \\text{ is any integer}"), ("f(x)=kx", "f(x)=cx \\text{ for some constant } c"),
         ("f(x)=x^2+c", "f(x) = x^2 + a \\text{ where } a \\text{ is a constant}"), ("(t,2t), t\\in\\mathbb{R}", "\\{(s,2s) : s \\in \\mathbb{R}\\}"), ("(t,2t), t\\in\\mathbb{R}", "(x,y) = (k,2k) \\text{ for } k \\in \\mathbb{R}"),
         ("f(x)=ax+b, a,b\\in\\mathbb{R}", "f(x) = d + cx \\text{ where } c, d \\in \\mathbb{R}"), ("y=Ce^{2x}", "y=Ae^{2x}"), ("y=Ae^{x}+Be^{-x}", "y=C_1e^x+C_2e^{-x}"), ("y=Ae^{x}+Be^{-x}", "y = A e^{x} + B e^{-x}, \\text{ where } A, B \\text{ are constants}"),
         ("2^n \\text{ for } n \\ge 0", "2^n"), ("y = c_1 \\cos x + c_2 \\sin x", "y = A\\sin x+B\\cos x"),
         ("n \\equiv 1 \\pmod{4}", "n = 4k+1, k\\in\\mathbb{Z}"), ("n \\equiv 3 \\pmod{4}", "n = 4k-1, k \\in \\mathbb{Z}"), ("n \\equiv 0, 1 \\pmod{4}", "n \\equiv 0 \\text{ or } 1 \\pmod{4}"),
         ("x=\\frac{\\pi}{2}+k\\pi, k\\in\\mathbb{Z}", "x=-\\frac{\\pi}{2}+n\\pi, n\\in\\mathbb{Z}"), ("\\bigcup_{k\\in\\mathbb{Z}} (2k\\pi, (2k+1)\\pi)", "2k\\pi < x < (2k+1)\\pi, k\\in\\mathbb{Z}"),
         ("f(x)=0, f(x)=x", "f(x)=0 \\text{ for all } x, \\text{ or } f(x)=x \\text{ for all } x"), ("f(x)=x", "f(x)=x \\quad \\forall x\\in\\mathbb{R}"), ("\\frac{\\pi}{2}+k\\pi, k \\in Z", "\\frac{\\pi}{2}+k\\pi, \\quad k=0,\\pm1,\\pm2,\\ldots"),
         ("a_n=3^n, n\\ge1", "a_n=3^n")],
        [("x=k\\pi, k\\in\\mathbb{Z}", "x=2n\\pi, n\\in\\mathbb{Z}"), ("n=2^k, k\\in\\mathbb{N}", "n=2^{k+1}"), ("a_n=2n-1, n\\in\\mathbb{N}", "a_n=2n+1"), ("f(x)=kx", "f(x)=kx+1"), ("f(x)=x", "f(x)=c \\text{ for some constant } c"), ("x=2", "x=2, y\\in\\mathbb{R}"),
         ("(t,2t), t\\in\\mathbb{R}", "(t,t), t\\in\\mathbb{R}"), ("f(x)=ax+b, a,b\\in\\mathbb{R}", "f(x)=ax+a, a\\in\\mathbb{R}"), ("A + C", "A + D"), ("n \\equiv 1 \\pmod{4}", "n=4k+3"), ("n \\equiv 1 \\pmod{4}", "n=8k+1"), ("n \\equiv 0, 1 \\pmod{4}", "n \\equiv 0, 1 \\pmod 5"),
         ("y=Ce^{2x}", "y=e^{2x}+C"), ("y=Ae^{x}+Be^{-x}", "y=Ae^x+Be^x"), ("x^3/3+C", "x^3/3+Cx"), ("\\frac{\\pi}{2}+k\\pi, k \\in Z", "\\frac{\\pi}{2}+2k\\pi")],
    ),
    "of what kind the numbers are": (
        [("x>0, x\\in\\mathbb{Z}", "x \\ge 1, x\\in\\mathbb{Z}"), ("x>0, x\\in\\mathbb{R}", "x>0"), ("x>0, x\\in\\mathbb{Z}", "x\\in\\mathbb{Z}, x>0"), ("n>3, n \\text{ is an integer}", "n\\ge 4, n\\in\\mathbb{Z}"),
         ("n \\ge 3", "n\\ge 3, n\\in\\mathbb{Z}"), ("n \\ge 3, n\\in\\mathbb{Z}", "n\\ge 3"), ("1,2,3,4,5", "1\\le n\\le 5, n\\in\\mathbb{Z}"), ("\\{x\\in\\mathbb{Z} \\mid 1<x<4\\}", "\\{2,3\\}"),
         ("x=2, x\\in\\mathbb{Z}", "x=2"), ("\\mathbb{Z}^+", "\\mathbb{N}^*"), ("x\\in\\mathbb{Z}^+", "x>0, x\\in\\mathbb{Z}"), ("\\mathbb{Z}_{\\ge 0}", "\\{x\\in\\mathbb{Z}: x\\ge0\\}"), ("x>2, x\\in\\mathbb{N}", "x>2, x\\in\\mathbb{Z}"), ("[2k\\pi, 2k\\pi+\\pi], k \\in \\mathbb{Z}", "2k\\pi \\le x \\le 2k\\pi+\\pi, k \\in \\mathbb{Z}"),
         ("\\frac{\\pi}{2}+k\\pi", "\\frac{\\pi}{2}+k\\pi, k\\in\\mathbb{Z}"), ("a_n=2n-1, n\\in\\mathbb{N}", "a_n=2n-1, n\\in\\mathbb{Z}")],
        [("\\mathbb{Z}^+", "\\mathbb{Z}"), ("\\mathbb{Z}^+", "(0,\\infty)"), ("x>0", "x>0, x\\in\\mathbb{Z}"), ("x>0, x\\in\\mathbb{Z}", "x>0"), ("x>0, x\\in\\mathbb{Z}", "(0,\\infty)"), ("(0,\\infty)", "\\{x : x>0, x\\in\\mathbb{Z}\\}"), ("x>0, x\\in\\mathbb{Z}", "x>0, x\\in\\mathbb{Q}"),
         ("x>0", "x>0 \\text{ where } x \\text{ is an integer}"), ("1\\le n\\le 5, n\\in\\mathbb{Z}", "[1,5]"), ("n>3, n \\text{ is an integer}", "n\\ge 3, n\\in\\mathbb{Z}"), ("x<5", "x<5 \\text{ for positive real } x"),
         ("x^2+y^2=25", "x^2+y^2=25, x,y\\in\\mathbb{Z}"), ("x^2<4, x\\in\\mathbb{Z}", "(-2,2)"), ("n \\ge 3", "n\\ge 3, n\\in\\mathbb{Q}"), ("k\\pi, k\\in\\mathbb{Z}", "k\\pi, k\\in\\mathbb{N}"), ("x=k\\pi, k\\in\\mathbb{Z}", "x=t\\pi, t\\in\\mathbb{R}")],
    ),
    "divisors, solved for a letter, derivatives, sets of points": (
        [("6 \\mid n", "6|n"), ("6 \\mid n", "n \\equiv 0 \\pmod 6"), ("6 \\mid n", "n=6k, k\\in\\mathbb{Z}"), ("xy=1", "y=\\frac1x"), ("xy=1", "x=1/y"), ("y'=2xy", "\\frac{dy}{dx}=2xy"), ("f'(x)=2x", "\\frac{df}{dx}=2x"),
         ("y''+y=0", "\\frac{d^2y}{dx^2}+y=0"), ("\\{(x,y): x+y=1\\}", "\\{(x,y) \\in \\mathbb{R}^2 \\mid y=1-x\\}"), ("x+y=1", "\\{(x,y): x+y=1\\}"), ("\\{(x,y) \\mid x>0, y>0\\}", "\\{(x,y) \\mid y>0, x>0\\}")],
        [("6 \\mid n", "n \\mid 6"), ("6 \\mid n", "3 \\mid n"), ("6 \\mid n", "6"), ("6 \\mid n", "|n|=6"), ("xy=1", "y=-\\frac1x"), ("xy=1", "y=x"), ("xy=x", "y=1"), ("x^2y=x", "y=\\frac1x"), ("xy=x^2", "y=\\frac{x^2}{x}"), ("y=\\frac1x", "xy=1"), ("E=mc^2", "m=\\frac{E}{c^2}"),
         ("y'=2xy", "\\frac{dx}{dy}=2xy"), ("y''=x", "\\frac{dy}{dx}=x"), ("\\{(x,y): x+2y=1\\}", "\\{(y,x): x+2y=1\\}"), ("\\{(x,y): x>0\\}", "x>0"), ("\\{(x,y): x+y=1\\}", "\\{(x,y): x-y=1\\}")],
    ),
    "near misses": (
        [("48", "6!!"), ("(2n-1)!!", "(2n-1)!!"), ("\\{{1,2}\\}", "\\{1,2\\}"), ("\\lceil x\\rceil", "-\\lfloor -x\\rfloor"), ("Ann or Bob", "Bob or Ann"), ("\\{1, 2\\}", "\\{ 2, 1 \\}")],
        [("720", "3!!"), ("25", "25%%"), ("(10,200)", "10200"), ("[10,200]", "10200"), ("3.5", "3:30"), ("\\{1\\}", "\\{\\{1\\}\\}"), ("€10", "10 pounds"), ("10 pounds", "\\$10"), ("2020-03-05", "2020-05-03"),
         ("Ann and Bob", "Ann or Bob"), ("p \\land q", "p \\lor q"), ("2, 3", "w=2 \\text{ or } x=3"), ("\\{x|x=3k,k\\in \\mathbb{Z}\\}", "\\{w|x=3k,k\\in \\mathbb{Z}\\}"), ("x=2, x\\in\\mathbb{Z}", "w=2"), ("x>0, x\\in\\mathbb{R}", "w>0"), ("5", "5 \\text{ is wrong}"), ("P(A)=1/2", "P(B)=1/2"), ("E(X)=3", "E(Y)=3"), ("\\lceil x\\rceil", "\\lfloor x\\rfloor+1"), ("n \\equiv 1 \\pmod 3", "n=1")],
    ),
    "letters that are not free": (
        [("f(x)=cx", "f(x)=ax \\text{ for any real constant } a"), ("f(x)=cx", "f(x)=kx"), ("\\frac{x^3}{3}+c", "\\frac{x^3}{3}+C"), ("y=k+\\sin x", "y=\\sin x+C"), ("f(x)=ax, a \\in \\mathbb{R}", "f(x)=bx"), ("\\frac{x^3}{3}+C", "\\frac{x^3}{3}+t, t \\in \\mathbb{R}"),
         ("\\frac{\\pi}{4}+k\\pi", "\\frac{\\pi}{4}+n\\pi, n\\in\\mathbb{Z}")],
        [("a+b", "b+c, c \\text{ a constant}"), ("a+b", "b+c, c\\in\\mathbb{R}"), ("f(x)=ax", "f(x)=bx"), ("f(x)=ax", "f(x)=bx, b \\in \\mathbb{R}"), ("a e^x", "c e^x, c \\text{ is a constant}"), ("|a|<1", "|b|<1, b\\in\\mathbb{R}"),
         ("\\frac12 kx^2", "\\frac12 cx^2, c \\text{ a constant}"), ("x>a", "x>b, b\\in\\mathbb{R}"), ("2n+1", "2k+1, k \\in \\mathbb{Z}"), ("\\frac{C_1 v}{C_1+C_2}", "\\frac{C_2 v}{C_1+C_2}"),
         ("\\frac{x^3}{3}+C", "\\frac{x^3}{3}+n, n \\in \\mathbb{Z}"), ("x=k\\pi", "x=a\\pi, a\\in\\mathbb{R}")],
    ),
    "products of letters": (
        [("xyz", "x y z"), ("\\frac{abc}{4R}", "\\frac{a \\cdot b \\cdot c}{4 R}"), ("2abc", "2 a b c"), ("\\frac{2GM}{R}", "\\frac{2 G M}{R}"), ("nRT", "n R T"), ("mgh", "E=mgh"), ("\\{1,2,\\ldots,n\\}", "\\{1, 2, \\dots, n\\}")],
        [("xyz", "x y w"), ("abc", "a+b+c"), ("\\frac{2GM}{R}", "\\frac{2 G m}{R}"), ("ABCD", "ABDC"), ("odd", "o d")],
    ),
    "physics": (
        [("mg\\sin\\theta-\\mu mg\\cos\\theta", "-\\mu mg\\cos\\theta+mg\\sin\\theta"), ("2mg", "2 m g"), ("5 \\text{ kg}", "5 kg"), ("1.6 \\times 10^{-19} \\text{ C}", "1.6e-19 C"), ("1.6 \\times 10^{-19} \\text{ C}", "1.6\\times10^{-19}"),
         ("2.0 \\text{ M}\\Omega", "2\\times10^6\\,\\Omega"), ("\\frac{q}{4\\pi\\epsilon_0}", "\\frac{q}{4\\pi\\varepsilon_0}"), ("1,2,\\ldots,n", "1,2,3,\\ldots,n"), ("x=y=z=1", "(1,1,1)"), ("a=b=c", "c=b=a")],
        [("mg\\sin\\theta", "mg\\cos\\theta"), ("1.6 \\text{ C}", "1.6 \\text{ A}"), ("2.0 \\text{ M}\\Omega", "2\\text{ k}\\Omega"), ("1,2,\\ldots,n", "1,3,5,\\ldots,n"), ("a=b=c", "a=b"), ("x=y=z=1", "(1,1)"), ("n", "k, k\\in\\mathbb{Z}"), ("n+1, n\\in\\mathbb{Z}", "AB"), ("a-b", "b-a, a,b\\in\\mathbb{R}"), ("a-b, a,b\\in\\mathbb{R}", "b-a"),
         ("2n+1", "2n-1, n\\in\\mathbb{Z}"), ("5", "5 \\text{ for some constant } c, 6"), ("no", "on"), ("12 \\text{ cm}", "3 \\text{ cm} \\times 4 \\text{ cm}"), ("5", "5 by 6"), ("30", "5 by 6"),
         ("5 ft", "5 ft × 5 ft"), ("(2,3),(4,5)", "x=1, x=2, y=3 \\text{ or } x=4, y=5"), ("(2,3)", "x=2 \\text{ or } y=3"), ("12.5 \\text{ square units}", "12.5 \\text{ units}^3")],
    ),
    "points, words, boxes of a size": (
        [("(x,y)=(1,2),(2,1)", "x=1,y=2 \\text{ or } x=2,y=1"), ("x=1, y=2 \\text{ or } x=3, y=4", "(1,2),(3,4)"), ("(1,1),(4,4)", "x=y=1 \\text{ or } x=y=4"), ("f(x)=2x-1, f(x)=3-2x", "f_1(x)=2x-1, f_2(x)=-2x+3"),
         ("all even $n$", "n \\text{ is even}"), ("All positive integers $n$ divisible by 3", "\\text{all positive integers divisible by } 3"), ("\\text{all odd integers } n \\geq 3", "\\text{odd integers } n \\ge 3"), ("ACD", "A, C, D"), ("Ava, Bella", "\\text{Ava, Bella}"), ("Ava, Bella", "\\text{Bella and Ava}"), ("12.5 \\text{ square units}", "12.5 \\text{ units}^2"),
         ("10 \\text{ ft} \\times 18 \\text{ ft}", "10 ft × 18 ft"), ("10 \\text{ ft} \\times 18 \\text{ ft}", "10\\text{ feet by }18\\text{ feet}"), ("5.0\\times10^{-7}\\text{ m}", "0.5\\ \\mu\\text{m}"), ("\\sin^2 x", "{\\sin}^2 x"), ("|x-3|", "\\sqrt{(x-3)^2}")],
        [("(x,y)=(1,2),(2,1)", "x=1,y=1 \\text{ or } x=2,y=2"), ("x=1, y=2 \\text{ or } x=3, y=4", "(1,3),(2,4)"), ("all even $n$", "n \\text{ is odd}"), ("all even $n$", "n \\text{ is not even}"), ("\\text{all positive integers}", "\\text{all positive numbers}"), ("positive integers", "positive values"), ("ACD", "A, C"), ("10 \\text{ ft} \\times 18 \\text{ ft}", "180 \\text{ ft}"),
         ("10 \\text{ ft} \\times 18 \\text{ ft}", "10 \\text{ ft} \\times 16 \\text{ ft}"), ("16, 3, 1, 1", "16, 3, 1"), ("|x-3|", "3-x"), ("\\sqrt{(x-20)^2}", "20-x"), ("f^{-1}(x)=2x", "f(x)=2x")],
    ),
}  # fmt: skip

# What only sympy decides: (gold, answer, equal).
SYMBOLIC = [
    ("\\sum_{k=1}^{100} k", "5050", True), ("\\sum_{k=1}^{n} k", "\\frac{n(n+1)}{2}", True), ("\\sum_{k=1}^{n} k", "n^2", False),
    ("\\sum_{k=1}^{n} k^2", "\\frac{n(n+1)(2n+1)}{6}", True), ("\\sum_{k=0}^{\\infty} \\frac{1}{2^k}", "2", True),
    ("\\sum_{k=1}^{\\infty} \\frac{1}{k^2}", "\\frac{\\pi^2}{6}", True), ("\\sum_{k=1}^{\\infty} \\frac{1}{k^2}", "1.64", False),
    ("\\prod_{k=1}^{5} k", "120", True), ("\\sum_{i=1}^{3} i^2", "14", True), ("\\int_0^1 x^2 dx", "1/3", True),
    ("\\int_0^1 x^2 \\, dx", "1/2", False), ("\\int_0^{\\pi} \\sin x \\, dx", "2", True), ("\\int x^2 dx", "\\frac{x^3}{3}+C", True),
    ("\\int_0^\\infty e^{-x^2} dx", "\\frac{\\sqrt{\\pi}}{2}", True), ("\\int_1^e \\frac{dx}{x}", "1", True),
    ("\\int_0^1 \\frac{1}{1+x^2} dx", "\\frac{\\pi}{4}", True), ("\\lim_{x \\to 0} \\frac{\\sin x}{x}", "1", True),
    ("\\lim_{n\\to\\infty} (1+\\frac{1}{n})^n", "e", True), ("\\lim_{x\\to 0^+} \\frac{1}{x}", "\\infty", True),
    ("\\frac{d}{dx} x^3", "3x^2", True), ("\\frac{d}{dx} x^3", "x^2", False), ("\\gcd(84,126)", "42", True),
    ("\\operatorname{lcm}(4,6)", "12", True), ("\\max(3,7)", "7", True), ("\\min\\{3,7\\}", "3", True), ("\\max(3,7)", "3", False),
    ("x^2-5x+6=0", "2, 3", True), ("x^2-5x+6=0", "\\{3,2\\}", True), ("x^2-5x+6=0", "2", False), ("x^2=-1", "\\pm i", True),
    ("x^2<4", "(-2,2)", True), ("x^2<4", "-2<x<2", True), ("x^2<4", "[-2,2]", False), ("|x-1|<2", "(-1,3)", True),
    ("x^2 \\ge 9", "(-\\infty,-3]\\cup[3,\\infty)", True), ("2x+4=10", "3", True), ("2x+4=10", "4", False), ("e^x=5", "\\ln 5", True),
    ("\\sum_{k=0}^{n} \\binom{n}{k}", "2^n", True), ("x^3=8", "2", False),
]  # fmt: skip


def cases(side):
    return [
        pytest.param(*pair, id=f"{form}: {pair[0]} | {pair[1]}") for form, both in PAIRS.items() for pair in both[side]
    ]


def test_there_are_many():
    pairs = [pair for both in PAIRS.values() for pair in (*both[0], *both[1])]
    assert len(set(pairs)) == len(pairs) >= 300
    assert len(SYMBOLIC) >= 20


@pytest.mark.parametrize(("gold", "answer"), cases(0))
def test_equal(gold, answer):
    verdict = equivalent(gold, answer)
    assert verdict.outcome == "correct", verdict


@pytest.mark.parametrize(("gold", "answer"), cases(1))
def test_not_equal(gold, answer):
    verdict = equivalent(gold, answer)
    assert verdict.outcome in ("incorrect", "unparsed", "limit"), verdict


@pytest.mark.parametrize(("gold", "answer", "equal"), SYMBOLIC)
def test_what_only_sympy_decides(gold, answer, equal):
    verdict = equivalent(gold, answer)
    assert verdict.outcome == ("correct" if equal else "incorrect"), verdict
