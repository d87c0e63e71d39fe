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
    "not a value": (
        [("\\gcd(84,126)", "\\gcd(84,126)")],
        [("42", "\\gcd(84,126)"), ("7", "\\max(3,7)"), ("5050", "\\sum_{k=1}^{100} k"), ("1/3", "\\int_0^1 x^2 dx"), ("6", "x=2,x=3"),
         ("1", "\\lim_{x\\to 0}\\frac{\\sin x}{x}"), ("3", "x^2=9"), ("(-2,2)", "x^2<4"), ("2x", "\\frac{d}{dx}x^2"),
         ("42", "41=42"), ("12", "3+4=12"), ("42", "41+1=43"), ("1,2,\\ldots,10", "1,2,10")],
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
