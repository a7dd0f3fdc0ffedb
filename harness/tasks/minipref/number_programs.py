# SPDX-License-Identifier: Apache-2.0
"""Programs on numbers for the code section: the table that `programs` draws from."""

from harness.tasks.minipref.programs import Task

NUMBER_TASKS = (
    Task(
        "sum_multiples",
        "Write a Python function sum_multiples(n) that adds up all multiples of $k from 1 to n, "
        "including n itself.",
        """
        def sum_multiples(n):
            total = 0
            for x in range(1, n + 1):
                if x % $k == 0:
                    total += x
            return total
        """,
        (
            ("off-by-one", "range(1, n + 1)", "range(1, n)"),
            ("wrong-operator", "x % $k == 0", "x // $k == 0"),
            ("wrong-value", "total += x", "total += 1"),
        ),
        "assert sum_multiples($k * 3) == $k * 6\nassert sum_multiples($k - 1) == 0",
        ({"k": "3"}, {"k": "7"}),
    ),
    Task(
        "product",
        "Write $name(n) in Python, which returns the product of the first n $what.",
        """
        def $name(n):
            result = 1
            for i in range(1, n + 1):
                result *= $term
            return result
        """,
        (
            ("wrong-start", "result = 1", "result = 0"),
            ("off-by-one", "range(1, n + 1)", "range(n)"),
            ("wrong-operator", "result *= $term", "result += $term"),
        ),
        "assert [$name(n) for n in range(5)] == $out",
        (
            {
                "name": "factorial",
                "what": "positive whole numbers",
                "term": "i",
                "out": "[1, 1, 2, 6, 24]",
            },
            {
                "name": "odd_product",
                "what": "odd numbers (1, 3, 5, ...)",
                "term": "2 * i - 1",
                "out": "[1, 1, 3, 15, 105]",
            },
        ),
    ),
    Task(
        "is_prime",
        "I need a Python function is_prime(n) that tells whether the whole number n is prime.",
        """
        def is_prime(n):
            if n < 2:
                return False
            d = 2
            while d * d <= n:
                if n % d == 0:
                    return False
                d += 1
            return True
        """,
        (
            ("off-by-one", "d * d <= n", "d * d < n"),
            ("missing-edge-case", "    if n < 2:\n        return False\n", ""),
            ("wrong-start", "d = 2", "d = 3"),
        ),
        "assert [n for n in range(30) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
    ),
    Task(
        "digit_sum",
        "Write digit_sum(n) in Python: the sum of the $which digits of a whole number that may "
        "be negative.",
        """
        def digit_sum(n):
            digits = [int(c) for c in str(abs(n))]
            return sum($chosen)
        """,
        (
            ("missing-edge-case", "str(abs(n))", "str(n)"),
            ("wrong-return", "sum($chosen)", "len($chosen)"),
            ("off-by-one", "str(abs(n))]", "str(abs(n))[1:]]"),
        ),
        "assert digit_sum(-345) == $a\nassert digit_sum(2048) == $b",
        (
            {"which": "decimal", "chosen": "digits", "a": "12", "b": "14"},
            {"which": "even", "chosen": "d for d in digits if d % 2 == 0", "a": "4", "b": "14"},
        ),
    ),
    Task(
        "clamp",
        "Write a Python function clamp(x) that keeps x between $low and $high: smaller numbers "
        "become $low, larger ones $high.",
        """
        def clamp(x):
            return max($low, min($high, x))
        """,
        (
            ("swapped", "max($low, min($high, x))", "min($low, max($high, x))"),
            ("missing-edge-case", "max($low, min($high, x))", "min($high, x)"),
            ("wrong-value", "min($high, x)", "min($high - 1, x)"),
        ),
        "assert clamp($low - 5) == $low\nassert clamp($high + 5) == $high == clamp($high)\n"
        "assert clamp($low + 2) == $low + 2",
        ({"low": "0", "high": "100"}, {"low": "-10", "high": "10"}),
    ),
    Task(
        "leap_year",
        "Give me a Python function is_leap(year) that follows the Gregorian calendar rules.",
        """
        def is_leap(year):
            if year % 400 == 0:
                return True
            if year % 100 == 0:
                return False
            return year % 4 == 0
        """,
        (
            ("missing-edge-case", "    if year % 400 == 0:\n        return True\n", ""),
            ("wrong-operator", "year % 4 == 0", "year % 4 != 0"),
        ),
        "assert is_leap(2000) and is_leap(2024)\nassert not is_leap(1900) and not is_leap(2023)",
    ),
    Task(
        "fizz",
        'Write fizz(n) in Python. It returns "$word" when n is a multiple of $k, and otherwise '
        "the number itself as a string.",
        """
        def fizz(n):
            if n % $k == 0:
                return "$word"
            return str(n)
        """,
        (
            ("wrong-operator", "n % $k == 0", "n % $k == 1"),
            ("wrong-return", "return str(n)", "return n"),
            ("wrong-value", "n % $k == 0", "n == $k"),
        ),
        'assert fizz($k * 4) == "$word"\nassert fizz($k + 1) == str($k + 1)',
        ({"k": "3", "word": "fizz"}, {"k": "10", "word": "round"}),
    ),
    Task(
        "gcd",
        "How can I compute the greatest common divisor of two positive whole numbers in Python "
        "without imports? Call the function gcd(a, b).",
        """
        def gcd(a, b):
            while b:
                a, b = b, a % b
            return a
        """,
        (
            ("wrong-return", "return a", "return b"),
            ("wrong-operator", "while b:\n", "while b > 1:\n"),
        ),
        "assert gcd(12, 18) == 6\nassert gcd(7, 5) == 1\nassert gcd(9, 3) == 3",
    ),
    Task(
        "round_up",
        "Write round_up(n) in Python, returning the smallest multiple of $k that is at least n, "
        "for whole n >= 0.",
        """
        def round_up(n):
            return (n + $k - 1) // $k * $k
        """,
        (
            ("off-by-one", "n + $k - 1", "n + $k"),
            ("wrong-return", "// $k * $k", "// $k"),
            ("missing-edge-case", "(n + $k - 1) // $k * $k", "n + $k - n % $k"),
        ),
        "assert round_up(0) == 0\nassert round_up($k) == $k\nassert round_up($k + 1) == 2 * $k",
        ({"k": "5"}, {"k": "12"}),
    ),
    Task(
        "countdown",
        "Write a function countdown(n) in Python that returns the list n, n - $step, and so on, "
        "as long as the numbers are greater than zero.",
        """
        def countdown(n):
            numbers = []
            while n > 0:
                numbers.append(n)
                n -= $step
            return numbers
        """,
        (
            ("off-by-one", "while n > 0", "while n >= 0"),
            ("off-by-one", "while n > 0", "while n > $step"),
            (
                "order",
                "numbers.append(n)\n        n -= $step",
                "n -= $step\n        numbers.append(n)",
            ),
        ),
        "assert countdown(3 * $step) == [3 * $step, 2 * $step, $step]\nassert countdown(0) == []\n"
        "assert countdown(1) == [1]",
        ({"step": "1"}, {"step": "4"}),
    ),
    Task(
        "recurrence",
        "Write $name(n) in Python for the n-th $title number, counting from 0: the sequence "
        "starts $a, $b, and each later number is the sum of the two before it.",
        """
        def $name(n):
            a, b = $a, $b
            for _ in range(n):
                a, b = b, a + b
            return a
        """,
        (
            ("wrong-return", "return a", "return b"),
            ("off-by-one", "range(n)", "range(n - 1)"),
            ("wrong-start", "a, b = $a, $b", "a, b = $b, $b"),
        ),
        "assert [$name(i) for i in range(6)] == $out",
        (
            {"name": "fib", "title": "Fibonacci", "a": "0", "b": "1", "out": "[0, 1, 1, 2, 3, 5]"},
            {"name": "lucas", "title": "Lucas", "a": "2", "b": "1", "out": "[2, 1, 3, 4, 7, 11]"},
        ),
    ),
    Task(
        "powers_list",
        "In Python, write $name(n), which lists the $name of all whole numbers from 1 up to and "
        "including n.",
        """
        def $name(n):
            return [i ** $e for i in range(1, n + 1)]
        """,
        (
            ("off-by-one", "range(1, n + 1)", "range(1, n)"),
            ("off-by-one", "range(1, n + 1)", "range(0, n + 1)"),
            ("wrong-operator", "i ** $e", "i * $e"),
        ),
        "assert $name(3) == $out\nassert $name(0) == []",
        (
            {"name": "squares", "e": "2", "out": "[1, 4, 9]"},
            {"name": "cubes", "e": "3", "out": "[1, 8, 27]"},
        ),
    ),
    Task(
        "divisors",
        "Write a Python function divisors(n) that returns a list of all positive divisors of n "
        "in ascending order.",
        """
        def divisors(n):
            found = []
            for d in range(1, n + 1):
                if n % d == 0:
                    found.append(d)
            return found
        """,
        (
            ("off-by-one", "range(1, n + 1)", "range(1, n)"),
            ("off-by-one", "range(1, n + 1)", "range(2, n + 1)"),
            ("wrong-value", "found.append(d)", "found.append(n // d)"),
        ),
        "assert divisors(12) == [1, 2, 3, 4, 6, 12]\nassert divisors(1) == [1]",
    ),
    Task(
        "clock",
        "Write as_clock(n) in Python: n is a number of $small, and the result is a string such "
        'as "2:05", with the $big first and two digits for the rest.',
        """
        def as_clock(n):
            $big, $small = divmod(n, 60)
            return f"{$big}:{$small:02d}"
        """,
        (
            ("missing-edge-case", "{$small:02d}", "{$small}"),
            ("swapped", "$big, $small = divmod(n, 60)", "$small, $big = divmod(n, 60)"),
            ("wrong-value", "divmod(n, 60)", "divmod(n, 100)"),
        ),
        'assert as_clock(125) == "2:05"\nassert as_clock(59) == "0:59"',
        ({"big": "minutes", "small": "seconds"}, {"big": "hours", "small": "minutes"}),
    ),
    Task(
        "grade",
        'Write grade(points) in Python. From $high points on it returns "A", from $low points '
        'on "B", and below that "C".',
        """
        def grade(points):
            if points >= $high:
                return "A"
            if points >= $low:
                return "B"
            return "C"
        """,
        (
            ("off-by-one", "points >= $high", "points > $high"),
            ("off-by-one", "points >= $low", "points > $low"),
            ("swapped", "points >= $low", "points <= $low"),
        ),
        "assert [grade(p) for p in ($high, $high - 1, $low, $low - 1)] == list('ABBC')",
        ({"high": "90", "low": "75"}, {"high": "40", "low": "25"}),
    ),
    Task(
        "bulk_price",
        "Write bulk_price(n, price) in Python for the cost of n items. Every item after the "
        "first $k costs half the price.",
        """
        def bulk_price(n, price):
            full = min(n, $k)
            reduced = n - full
            return full * price + reduced * price / 2
        """,
        (
            ("wrong-operator", "min(n, $k)", "max(n, $k)"),
            ("missing-edge-case", "full = min(n, $k)", "full = $k"),
            ("wrong-value", "reduced * price / 2", "n * price / 2"),
        ),
        "assert bulk_price($k + 2, 10) == $k * 10 + 10\nassert bulk_price(1, 10) == 10",
        ({"k": "3"}, {"k": "10"}),
    ),
    Task(
        "is_power",
        "Write a Python function is_power(n) that says whether the positive whole number n is a "
        "power of $k ($k to the power 0 counts).",
        """
        def is_power(n):
            while n % $k == 0:
                n //= $k
            return n == 1
        """,
        (
            ("wrong-return", "return n == 1", "return n % $k == 0"),
            ("wrong-loop", "while n % $k == 0", "if n % $k == 0"),
            ("wrong-value", "return n == 1", "return n > 0"),
        ),
        "assert [n for n in range(1, 130) if is_power(n)] == $out",
        (
            {"k": "2", "out": "[1, 2, 4, 8, 16, 32, 64, 128]"},
            {"k": "5", "out": "[1, 5, 25, 125]"},
        ),
    ),
)
