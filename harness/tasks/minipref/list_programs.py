# SPDX-License-Identifier: Apache-2.0
"""Programs on lists and dictionaries for the code section: the table that `programs` draws from."""

from harness.tasks.minipref.programs import Task

LIST_TASKS = (
    Task(
        "second",
        "Write second_$name(numbers) in Python that returns the second $name different value in "
        "a list, or None if there is no such value.",
        """
        def second_$name(numbers):
            values = sorted(set(numbers)$flag)
            if len(values) < 2:
                return None
            return values[1]
        """,
        (
            ("missing-edge-case", "set(numbers)", "numbers"),
            ("off-by-one", "len(values) < 2", "len(values) <= 2"),
            ("off-by-one", "values[1]", "values[0]"),
        ),
        "assert second_$name([4, 9, 9, 4, 7, 1, 1]) == $out\nassert second_$name([5, 5]) is None\n"
        "assert second_$name([1, 2]) in (1, 2)",
        (
            {"name": "largest", "flag": ", reverse=True", "out": "7"},
            {"name": "smallest", "flag": "", "out": "4"},
        ),
    ),
    Task(
        "running",
        "Write running_$name(numbers) in Python: a list with the $what of all numbers up to and "
        "including each position.",
        """
        def running_$name(numbers):
            result = []
            for i in range(len(numbers)):
                result.append($f(numbers[: i + 1]))
            return result
        """,
        (
            ("off-by-one", "numbers[: i + 1]", "numbers[i:]"),
            ("wrong-value", "$f(numbers[: i + 1])", "numbers[i] + 1"),
            ("off-by-one", "range(len(numbers))", "range(len(numbers) - 1)"),
        ),
        "assert running_$name([3, 1, 4]) == $out\nassert running_$name([]) == []",
        (
            {"name": "total", "what": "sum", "f": "sum", "out": "[3, 4, 8]"},
            {"name": "peak", "what": "maximum", "f": "max", "out": "[3, 3, 4]"},
        ),
    ),
    Task(
        "chunks",
        "Write a Python function chunks(items) that cuts a list into pieces of $k; the last piece "
        "may be shorter.",
        """
        def chunks(items):
            return [items[i : i + $k] for i in range(0, len(items), $k)]
        """,
        (
            ("off-by-one", "items[i : i + $k]", "items[i : i + $k - 1]"),
            ("missing-step", "range(0, len(items), $k)", "range(0, len(items))"),
            ("missing-edge-case", "len(items), $k)", "len(items) - $k + 1, $k)"),
        ),
        "assert chunks(list(range(7))) == $out\nassert chunks([]) == []",
        (
            {"k": "3", "out": "[[0, 1, 2], [3, 4, 5], [6]]"},
            {"k": "2", "out": "[[0, 1], [2, 3], [4, 5], [6]]"},
        ),
    ),
    Task(
        "rotate",
        "Write rotate(items, k) in Python that moves every item of a list k places to the $side, "
        "with those that fall off coming back at the other end. k may exceed the length.",
        """
        def rotate(items, k):
            if not items:
                return []
            k = $shift % len(items)
            return items[k:] + items[:k]
        """,
        (
            ("missing-edge-case", "    if not items:\n        return []\n", ""),
            ("wrong-direction", "$shift % len(items)", "$other % len(items)"),
            ("missing-edge-case", "$shift % len(items)", "$shift"),
        ),
        "assert rotate([1, 2, 3, 4], 1) == $out == rotate([1, 2, 3, 4], 9)\n"
        "assert rotate([], 3) == []",
        (
            {"side": "left", "shift": "k", "other": "-k", "out": "[2, 3, 4, 1]"},
            {"side": "right", "shift": "-k", "other": "k", "out": "[4, 1, 2, 3]"},
        ),
    ),
    Task(
        "flatten",
        "Write flatten(lists) in Python, which joins a list of lists into one list and keeps the "
        "order.",
        """
        def flatten(lists):
            flat = []
            for part in lists:
                flat.extend(part)
            return flat
        """,
        (
            ("wrong-method", "flat.extend(part)", "flat.append(part)"),
            ("wrong-order", "flat.extend(part)", "flat = part + flat"),
            ("wrong-return", "return flat", "return part"),
        ),
        "assert flatten([[1], [], [2, 3]]) == [1, 2, 3]\nassert flatten([]) == []",
    ),
    Task(
        "safe_mean",
        "Write mean(values) in Python that averages a list but skips every None. If nothing is "
        "left, it returns $empty.",
        """
        def mean(values):
            known = [v for v in values if v is not None]
            if not known:
                return $empty
            return sum(known) / len(known)
        """,
        (
            ("wrong-value", "/ len(known)", "/ len(values)"),
            ("missing-edge-case", "    if not known:\n        return $empty\n", ""),
            ("missing-edge-case", "if v is not None", "if v"),
        ),
        "assert mean([2, None, 4, 0]) == 2\nassert mean([None]) == $empty\n"
        "assert mean([]) == $empty",
        ({"empty": "0"}, {"empty": "None"}),
    ),
    Task(
        "tally",
        "Write tally(items) in Python that returns a dictionary with how often each item occurs.",
        """
        def tally(items):
            counts = {}
            for item in items:
                counts[item] = counts.get(item, 0) + 1
            return counts
        """,
        (
            ("wrong-start", "counts.get(item, 0)", "counts.get(item, 1)"),
            ("missing-edge-case", "counts.get(item, 0) + 1", "1"),
            ("off-by-one", "for item in items:", "for item in items[1:]:"),
        ),
        "assert tally(['a', 'b', 'a']) == {'a': 2, 'b': 1}\nassert tally([]) == {}",
    ),
    Task(
        "differences",
        "Write differences(numbers) in Python: the list of each number minus the one $k places "
        "before it.",
        """
        def differences(numbers):
            return [numbers[i] - numbers[i - $k] for i in range($k, len(numbers))]
        """,
        (
            ("wrong-start", "range($k, len(numbers))", "range(len(numbers))"),
            ("swapped", "numbers[i] - numbers[i - $k]", "numbers[i - $k] - numbers[i]"),
            ("off-by-one", "len(numbers))]", "len(numbers) - 1)]"),
        ),
        "assert differences([1, 4, 9, 16]) == $out\nassert differences([5]) == []",
        ({"k": "1", "out": "[3, 5, 7]"}, {"k": "2", "out": "[8, 12]"}),
    ),
    Task(
        "drop_every",
        "Write drop_every(items) in Python that removes every $nth item from a list, counting "
        "from one.",
        """
        def drop_every(items):
            return [x for i, x in enumerate(items, 1) if i % $k != 0]
        """,
        (
            ("wrong-start", "enumerate(items, 1)", "enumerate(items)"),
            ("wrong-operator", "i % $k != 0", "i % $k == 0"),
            ("wrong-value", "i % $k != 0", "x % $k != 0"),
        ),
        "assert drop_every([8, 9, 7, 6, 5, 4]) == $out",
        (
            {"k": "3", "nth": "third", "out": "[8, 9, 6, 5]"},
            {"k": "2", "nth": "second", "out": "[8, 7, 5]"},
        ),
    ),
    Task(
        "index_of",
        "Write $name(numbers) in Python for the position of the largest number in a non-empty "
        "list; if it occurs more than once, use the $which place.",
        """
        def $name(numbers):
            best = 0
            for i in range(1, len(numbers)):
                if numbers[i] $sign numbers[best]:
                    best = i
            return best
        """,
        (
            ("missing-edge-case", "numbers[i] $sign numbers", "numbers[i] $bad numbers"),
            ("wrong-return", "return best", "return numbers[best]"),
            ("wrong-value", "numbers[i] $sign numbers[best]", "numbers[i] $sign best"),
        ),
        "assert $name([3, 8, 5, 8, 1]) == $out\nassert $name([6, 2, 3]) == 0",
        (
            {"name": "first_peak", "which": "first", "sign": ">", "bad": ">=", "out": "1"},
            {"name": "last_peak", "which": "last", "sign": ">=", "bad": ">", "out": "3"},
        ),
    ),
    Task(
        "common_items",
        "Write common(a, b) in Python that returns the items of list a $what in list b, in the "
        "order of a and without repetition.",
        """
        def common(a, b):
            result = []
            for x in a:
                if x $test b and x not in result:
                    result.append(x)
            return result
        """,
        (
            ("missing-edge-case", "x $test b and x not in result", "x $test b"),
            ("wrong-loop", "x in a:\n        if x $test b", "x in b:\n        if x $test a"),
            ("wrong-operator", "b and x not in result", "b or x not in result"),
        ),
        "assert common([3, 1, 3, 2, 7, 7], [2, 3]) == $out",
        (
            {"what": "that are also", "test": "in", "out": "[3, 2]"},
            {"what": "that are missing", "test": "not in", "out": "[1, 7]"},
        ),
    ),
    Task(
        "diagonal",
        "Write diagonal_sum(grid) in Python for a square grid given as a list of rows. It adds "
        "up the diagonal from the top $a to the bottom $b.",
        """
        def diagonal_sum(grid):
            total = 0
            for i in range(len(grid)):
                total += grid[i][$column]
            return total
        """,
        (
            ("wrong-value", "grid[i][$column]", "grid[i][0]"),
            ("off-by-one", "range(len(grid))", "range(1, len(grid))"),
            ("wrong-operator", "total += grid", "total = grid"),
        ),
        "assert diagonal_sum([[1, 2, 3], [4, 5, 6], [7, 8, 10]]) == $out",
        (
            {"a": "left", "b": "right", "column": "i", "out": "16"},
            {"a": "right", "b": "left", "column": "-1 - i", "out": "15"},
        ),
    ),
    Task(
        "group_by",
        "Write group(words) in Python, which returns a dictionary from $what to the list of the "
        "words that have it.",
        """
        def group(words):
            groups = {}
            for word in words:
                groups.setdefault($key, []).append(word)
            return groups
        """,
        (
            ("wrong-value", "groups.setdefault($key, []).append(word)", "groups[$key] = [word]"),
            ("wrong-value", "append(word)", "append($key)"),
            ("wrong-return", "return groups", "return list(groups)"),
        ),
        "assert group(['at', 'by', 'add']) == $out\nassert group([]) == {}",
        (
            {
                "what": "a word's length",
                "key": "len(word)",
                "out": "{2: ['at', 'by'], 3: ['add']}",
            },
            {
                "what": "a first letter",
                "key": "word[0]",
                "out": "{'a': ['at', 'add'], 'b': ['by']}",
            },
        ),
    ),
    Task(
        "binary_search",
        "Write find(numbers, x) in Python as a binary search on a sorted list. It returns the "
        "index of x, or -1 if x is absent.",
        """
        def find(numbers, x):
            low, high = 0, len(numbers) - 1
            while low <= high:
                mid = (low + high) // 2
                if numbers[mid] == x:
                    return mid
                if numbers[mid] < x:
                    low = mid + 1
                else:
                    high = mid - 1
            return -1
        """,
        (
            ("off-by-one", "low <= high", "low < high"),
            ("wrong-operator", "numbers[mid] < x", "numbers[mid] > x"),
            ("wrong-return", "return mid", "return numbers[mid]"),
        ),
        "assert [find([2, 5, 7, 9], x) for x in (2, 5, 7, 9, 1, 6)] == [0, 1, 2, 3, -1, -1]",
    ),
    Task(
        "is_sorted",
        "Write a Python function is_$name(numbers) that tells whether each number is strictly "
        "$what than the one before it.",
        """
        def is_$name(numbers):
            for a, b in zip(numbers, numbers[1:]):
                if a $sign b:
                    return False
            return True
        """,
        (
            ("missing-edge-case", "if a $sign b:", "if a $bad b:"),
            ("wrong-return", "        return False\n", "        return True\n"),
            ("wrong-value", "numbers[1:]", "numbers[2:]"),
        ),
        "assert is_$name($yes) and is_$name([1]) and is_$name([])\n"
        "assert not is_$name($yes + $yes) and not is_$name([2, 2])\n"
        "assert not is_$name([5, 1, 4, 0, 9])",
        (
            {
                "name": "rising",
                "what": "greater",
                "sign": ">=",
                "bad": ">",
                "yes": "[1, 3, 4]",
            },
            {
                "name": "falling",
                "what": "smaller",
                "sign": "<=",
                "bad": "<",
                "yes": "[4, 3, 1]",
            },
        ),
    ),
    Task(
        "invert",
        "Write invert(mapping) in Python: swap keys and values. When a value occurs more than "
        "once, the $which key is kept.",
        """
        def invert(mapping):
            result = {}
            for key, value in $items:
                result[value] = key
            return result
        """,
        (
            ("wrong-order", "in $items:", "in $bad:"),
            ("swapped", "result[value] = key", "result[key] = value"),
            ("wrong-return", "return result", "return result.keys()"),
        ),
        "assert invert({'a': 1, 'b': 2, 'c': 1}) == $out",
        (
            {
                "which": "last",
                "items": "mapping.items()",
                "bad": "reversed(mapping.items())",
                "out": "{1: 'c', 2: 'b'}",
            },
            {
                "which": "first",
                "items": "reversed(mapping.items())",
                "bad": "mapping.items()",
                "out": "{2: 'b', 1: 'a'}",
            },
        ),
    ),
    Task(
        "above_average",
        "Write above_average(numbers) in Python that counts the numbers $what the average of a "
        "non-empty list.",
        """
        def above_average(numbers):
            average = sum(numbers) / len(numbers)
            return len([n for n in numbers if n $sign average])
        """,
        (
            ("off-by-one", "n $sign average", "n $bad average"),
            ("wrong-return", "return len([n", "return sum([n"),
            ("wrong-operator", "sum(numbers) / len(numbers)", "max(numbers) / 2"),
        ),
        "assert above_average([1, 3, 3, 3, 5]) == $out\nassert above_average([4, 5, 9]) == 1",
        (
            {"what": "greater than", "sign": ">", "bad": ">=", "out": "1"},
            {"what": "at or above", "sign": ">=", "bad": ">", "out": "4"},
        ),
    ),
    Task(
        "best_gain",
        "Write best_gain(prices) in Python: the largest profit from buying on one day and selling "
        "on a later day, or 0 if there is none.",
        """
        def best_gain(prices):
            best = 0
            for i, low in enumerate(prices):
                for high in prices[i + 1 :]:
                    best = max(best, high - low)
            return best
        """,
        (
            ("wrong-value", "in prices[i + 1 :]:", "in prices:"),
            ("swapped", "high - low", "low - high"),
            ("wrong-operator", "best = max(best, high - low)", "best = high - low"),
        ),
        "assert best_gain([7, 2, 5, 1, 3]) == 3\nassert best_gain([5, 4, 1]) == 0\n"
        "assert best_gain([]) == 0",
    ),
)
