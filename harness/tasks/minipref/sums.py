# SPDX-License-Identifier: Apache-2.0
"""Bare arithmetic and algebra for the maths section: the table that `arithmetic` draws from."""

from harness.tasks.minipref.arithmetic import Kind

PLAIN = "{}."

SUMS = (
    Kind(
        "addition",
        ("What is {a} + {b}?", "Add {a} and {b}."),
        {"a": range(123, 900), "b": range(123, 900)},
        (("s", "a + tens", "First {}."), ("t", "s + ones", "Then {}.")),
        given=(("tens", "b // 10 * 10"), ("ones", "b % 10")),
        where="ones > 0 and a % 10 + ones > 9",
    ),
    Kind(
        "subtraction",
        ("What is {a} - {b}?", "From {a} take away {b}. How much is left?"),
        {"a": range(400, 990), "b": range(123, 390)},
        (("s", "a - tens", "First {}."), ("t", "s - ones", "Then {}.")),
        ({"t": "s + ones"},),
        given=(("tens", "b // 10 * 10"), ("ones", "b % 10")),
        where="ones > a % 10",
    ),
    Kind(
        "product",
        ("What is {a} * {b}?", "Multiply {a} by {b}."),
        {"a": range(12, 99), "b": range(12, 99)},
        (
            ("high", "a * tens", "Split the second number: {}."),
            ("low", "a * ones", "Next, {}."),
            ("t", "high + low", "Together, {}."),
        ),
        ({"high": "a * digit"}, {"low": "a + ones"}),
        given=(("tens", "b // 10 * 10"), ("ones", "b % 10"), ("digit", "b // 10")),
        where="ones > 1 and a % 10 > 0 and a != b",
    ),
    Kind(
        "order_of_operations",
        ("What is {a} + {b} * {c}?", "Work out {a} + {b} * {c}."),
        {"a": range(5, 60), "b": range(3, 20), "c": range(3, 13)},
        (("p", "b * c", PLAIN), ("t", "a + p", PLAIN)),
        ({"p": "a + b", "t": "p * c"},),
    ),
    Kind(
        "division_first",
        ("What is {a} - {n} / {c}?", "Work out {a} - {n} / {c}."),
        {"a": range(40, 160), "n": range(12, 90), "c": range(2, 10)},
        (("p", "n / c", PLAIN), ("t", "a - p", PLAIN)),
        ({"p": "a - n", "t": "p / c"},),
        where="n % c == 0 and a > n",
    ),
    Kind(
        "brackets",
        ("What is ({a} + {b}) * {c}?", "Work out ({a} + {b}) * {c}."),
        {"a": range(4, 40), "b": range(4, 40), "c": range(3, 12)},
        (("s", "a + b", PLAIN), ("t", "s * c", PLAIN)),
        ({"s": "b * c", "t": "a + s"},),
    ),
    Kind(
        "remainder",
        (
            "What is the remainder when {a} is divided by {b}?",
            "{a} is divided by {b}. What remains?",
        ),
        {"a": range(60, 400), "b": range(6, 19)},
        (
            ("m", "b * q", "The largest multiple of {b} that fits is {}."),
            ("t", "a - m", "The remainder is {}."),
        ),
        ({"m": "b * less"}, {"t": "a / b"}),
        given=(("q", "a // b"), ("less", "a // b - 1")),
        where="a % b > 0",
    ),
    Kind(
        "percent_of",
        ("What is {rate}% of {n}?", "Find {rate} percent of {n}."),
        {"rate": range(3, 97), "n": range(120, 1000, 20)},
        (("one", "n / 100", "One percent is {}."), ("t", "one * rate", "So we need {}.")),
        ({"one": "n / 10"}, {"t": "n - one"}),
    ),
    Kind(
        "fraction_of",
        ("What is {top}/{bottom} of {n}?", "Find {top}/{bottom} of {n}."),
        {"top": (2, 3, 4, 5), "bottom": (3, 5, 7, 8, 9), "n": range(30, 400)},
        (("one", "n / bottom", "One part is {}."), ("t", "one * top", "All the parts are {}.")),
        ({"one": "n / top", "t": "one * bottom"}, {"t": "n - one"}),
        where="top < bottom and n % bottom == 0 and bottom % top > 0",
    ),
    Kind(
        "unit_fractions",
        ("What is 1/{a} + 1/{b}? Give a fraction in lowest terms.", "Add 1/{a} and 1/{b}."),
        {"a": range(2, 10), "b": range(2, 12)},
        (
            ("low", "a * b", "A common denominator is {}."),
            ("top", "b + a", "Over it, the numerators add up to {}."),
            ("t", "top / low", "The sum is {v}."),
        ),
        ({"low": "a + b", "top": "1 + 1"}, {"top": "1 + 1"}),
        where="a < b and (b % a > 0 or a == 1)",
        fractions=True,
    ),
    Kind(
        "linear",
        ("Solve for x: {a}x + {b} = {c}.", "If {a}x + {b} = {c}, what is x?"),
        {"a": range(2, 10), "x": range(3, 20), "b": range(3, 40)},
        (
            ("s", "c - b", "Subtract {b} from both sides: {a}x = {}."),
            ("t", "s / a", "Divide by {a}: x = {}."),
        ),
        ({"s": "c + b"}, {"t": "s - a"}),
        given=(("c", "a * x + b"),),
    ),
    Kind(
        "linear_brackets",
        ("Solve for x: {a}(x - {b}) = {c}.", "If {a}(x - {b}) = {c}, what is x?"),
        {"a": range(2, 10), "x": range(9, 30), "b": range(2, 9)},
        (
            ("s", "c / a", "Divide by {a}: x - {b} = {}."),
            ("t", "s + b", "Add {b}: x = {}."),
        ),
        ({"t": "s - b"}, {"s": "c - a"}),
        given=(("c", "a * (x - b)"),),
    ),
    Kind(
        "two_sides",
        ("Solve for x: {a}x = {b}x + {c}.", "For which x is {a}x = {b}x + {c}?"),
        {"a": range(5, 15), "b": range(2, 9), "x": range(2, 16)},
        (
            ("d", "a - b", "Collect x on the left; its factor is {}."),
            ("t", "c / d", "So x = {}."),
        ),
        ({"d": "a + b"},),
        given=(("c", "(a - b) * x"),),
        where="a > b + 1",
    ),
    Kind(
        "squares",
        ("What is {a} squared minus {b} squared?", "Subtract the square of {b} from {a} squared."),
        {"a": range(8, 20), "b": range(3, 12)},
        (
            ("p", "a * a", "The larger square is {}."),
            ("q", "b * b", "The smaller square is {}."),
            ("t", "p - q", "The difference is {}."),
        ),
        ({"p": "a * 2", "q": "b * 2"},),
        where="a > b + 1",
    ),
    Kind(
        "average",
        (
            "What is the average of {a}, {b}, {c} and {d}?",
            "Four tests gave {a}, {b}, {c} and {d} points. What is the mean?",
        ),
        {"a": range(11, 99), "b": range(11, 99), "c": range(11, 99), "d": range(11, 99)},
        (("s", "a + b + c + d", "The sum is {}."), ("t", "s / 4", "The mean is {}.")),
        ({"t": "s / 3"}, {"s": "a + b + c", "t": "s / 4"}),
        where="(a + b + c + d) % 4 == 0",
    ),
    Kind(
        "missing_value",
        (
            "The average of three numbers is {m}. Two of them are {a} and {b}. What is the third?",
            "Three numbers have a mean of {m}; two are {a} and {b}. Find the other one.",
        ),
        {"m": range(20, 60), "a": range(10, 60), "b": range(10, 60)},
        (("s", "m * 3", "All three add up to {}."), ("t", "s - a - b", "The third is {}.")),
        ({"t": "s - a"}, {"s": "m * 2"}),
    ),
    Kind(
        "common_multiple",
        ("What is the least common multiple of {a} and {b}?", "Find the LCM of {a} and {b}."),
        {"g": range(2, 8), "m": range(2, 8), "n": range(3, 10)},
        (
            ("p", "a * b", "The product is {}."),
            ("t", "p / g", "The greatest common divisor is {g}, and {}."),
        ),
        ({"t": ""}, {"p": "a + b"}),
        given=(("a", "g * m"), ("b", "g * n")),
        where="(m, n) in ((2, 3), (2, 5), (3, 4), (3, 5), (4, 5), (4, 7), (5, 6), (5, 8))",
    ),
    Kind(
        "sequence",
        (
            "A sequence starts at {a} and goes up by {d} each time. What is its {n}th term?",
            "The first term is {a} and each next one is {d} more. What is the {n}th term?",
        ),
        {"a": range(3, 30), "d": range(3, 13), "n": range(11, 20)},
        (
            ("k", "n - 1", "The number of jumps is {}."),
            ("p", "k * d", "They add {}."),
            ("t", "a + p", "The term is {}."),
        ),
        ({"k": "", "p": "n * d"}, {"k": "n + 1"}),
    ),
    Kind(
        "sum_to",
        (
            "What is the sum of all whole numbers from 1 to {n}?",
            "Add up every whole number from 1 to {n}.",
        ),
        {"n": range(12, 80)},
        (("p", "n * (n + 1)", "Twice the sum is {}."), ("t", "p / 2", "The sum is {}.")),
        ({"p": "n * n"}, {"p": "n * (n - 1)"}),
    ),
    Kind(
        "count_between",
        (
            "How many whole numbers are there from {a} to {b}, counting both?",
            "Tickets {a} to {b} were sold, both included. How many is that?",
        ),
        {"a": range(12, 90), "b": range(95, 400)},
        (("d", "b - a", "The difference is {}."), ("t", "d + 1", "With both ends: {}.")),
        ({"t": ""}, {"t": "d - 1"}),
    ),
    Kind(
        "proportion",
        ("If {a} : {b} = {c} : x, what is x?", "Find x so that {a} : {b} = {c} : x."),
        {"a": range(2, 9), "b": range(3, 12), "k": range(2, 12)},
        (("f", "c / a", "The factor is {}."), ("t", "b * f", "So x = {}.")),
        ({"f": "c - a", "t": "b + f"},),
        given=(("c", "a * k"),),
        where="a != b",
    ),
)
