# SPDX-License-Identifier: Apache-2.0
"""Programs on text for the code section: the table that `programs` draws from."""

from harness.tasks.minipref.programs import Task

TEXT_TASKS = (
    Task(
        "count_letters",
        "Write $name(text) in Python. It counts the $what in a text, in upper or lower case.",
        """
        def $name(text):
            count = 0
            for letter in text.lower():
                if letter in "$letters":
                    count += 1
            return count
        """,
        (
            ("missing-edge-case", "text.lower()", "text"),
            ("wrong-start", "count = 0", "count = 1"),
            ("wrong-operator", "if letter in", "if letter not in"),
        ),
        "assert $name('$sample') == $out\nassert $name('') == 0",
        (
            {
                "name": "vowels",
                "what": "vowels a, e, i, o and u",
                "letters": "aeiou",
                "sample": "An Apple",
                "out": "3",
            },
            {
                "name": "rare",
                "what": "letters j, q, x and z",
                "letters": "jqxz",
                "sample": "Zoo Jazz axe",
                "out": "5",
            },
        ),
    ),
    Task(
        "palindrome",
        "Write is_palindrome(text) in Python that ignores $what and returns True or False.",
        """
        def is_palindrome(text):
            text = $clean
            return text == text[::-1]
        """,
        (
            ("missing-edge-case", "text = $clean\n", "text = text.strip()\n"),
            ("wrong-return", "text == text[::-1]", "text != text[::-1]"),
            ("off-by-one", "text == text[::-1]", "text[1:] == text[::-1]"),
        ),
        "assert is_palindrome('$yes') and is_palindrome('level')\n"
        "assert not is_palindrome('lever')",
        (
            {"what": "upper and lower case", "clean": "text.lower()", "yes": "Anna"},
            {"what": "spaces", "clean": 'text.replace(" ", "")', "yes": "nurses run"},
        ),
    ),
    Task(
        "reverse_words",
        "Write a Python function $name(sentence) that $what, with single spaces between words.",
        """
        def $name(sentence):
            words = sentence.split()
            return " ".join($order)
        """,
        (
            ("wrong-return", '" ".join($order)', "$order"),
            ("wrong-order", "$order", "$bad"),
            ("missing-space", '" ".join', '"".join'),
        ),
        "assert $name('one two six') == '$out'",
        (
            {
                "name": "reverse_order",
                "what": "puts the words of a sentence in the opposite order",
                "order": "words[::-1]",
                "bad": "sorted(words)",
                "out": "six two one",
            },
            {
                "name": "mirror_words",
                "what": "keeps the words in place but spells each one backwards",
                "order": "[w[::-1] for w in words]",
                "bad": "words[::-1]",
                "out": "eno owt xis",
            },
        ),
    ),
    Task(
        "extreme_word",
        "Write $name(words) in Python that returns the $name word of a non-empty list. If there "
        "is a tie, the first one wins.",
        """
        def $name(words):
            best = words[0]
            for word in words:
                if len(word) $sign len(best):
                    best = word
            return best
        """,
        (
            ("missing-edge-case", "len(word) $sign len(best)", "len(word) $sign= len(best)"),
            ("wrong-operator", "len(word) $sign len(best)", "word $sign best"),
            ("wrong-return", "return best", "return len(best)"),
        ),
        "assert $name($words) == '$out'\nassert $name(['solo']) == 'solo'",
        (
            {"name": "longest", "sign": ">", "words": "['ab', 'pqr', 'xyz']", "out": "pqr"},
            {"name": "shortest", "sign": "<", "words": "['cat', 'no', 'at']", "out": "no"},
        ),
    ),
    Task(
        "long_words",
        "Write count_long(text) in Python: how many words of the text have more than $k letters?",
        """
        def count_long(text):
            return sum(1 for word in text.split() if len(word) > $k)
        """,
        (
            ("off-by-one", "len(word) > $k", "len(word) >= $k"),
            ("wrong-value", "sum(1 for", "sum(len(word) for"),
            ("wrong-operator", "len(word) > $k", "len(text) > $k"),
        ),
        "assert count_long('abc abcd abcdef abcdefg') == $out",
        ({"k": "4", "out": "2"}, {"k": "6", "out": "1"}),
    ),
    Task(
        "initials",
        "Write a Python function initials(name) that turns a full name into $what.",
        """
        def initials(name):
            return "$glue".join(part[0].upper() for part in name.split())
        """,
        (
            ("missing-edge-case", "part[0].upper()", "part[0]"),
            ("off-by-one", "part[0].upper()", "part[1].upper()"),
            ("missing-split", "for part in name.split()", "for part in name"),
        ),
        "assert initials('mia van dam') == '$out'",
        (
            {"what": "its capital initials, such as MVD", "glue": "", "out": "MVD"},
            {"what": "capital initials with hyphens, as in M-V-D", "glue": "-", "out": "M-V-D"},
        ),
    ),
    Task(
        "unique_letters",
        "Write unique(text) in Python that keeps only the first occurrence of each character, in "
        "the original order.",
        """
        def unique(text):
            seen = ""
            for letter in text:
                if letter not in seen:
                    seen += letter
            return seen
        """,
        (
            ("wrong-order", "seen += letter", "seen = letter + seen"),
            ("wrong-operator", "letter not in seen", "letter in seen"),
            ("wrong-return", "return seen", "return len(seen)"),
        ),
        "assert unique('banana') == 'ban'\nassert unique('') == ''",
    ),
    Task(
        "shift",
        "Write shift(text) in Python for text in lower-case letters a to z: move every letter "
        "$k places forward in the alphabet, starting again at a after z.",
        """
        def shift(text):
            result = ""
            for letter in text:
                place = (ord(letter) - ord("a") + $k) % 26
                result += chr(place + ord("a"))
            return result
        """,
        (
            ("missing-edge-case", " + $k) % 26", " + $k)"),
            ("wrong-operator", " + $k) % 26", " - $k) % 26"),
            ("off-by-one", "% 26", "% 25"),
        ),
        "assert shift('aby') == '$out'\nassert shift('') == ''",
        ({"k": "3", "out": "deb"}, {"k": "5", "out": "fgd"}),
    ),
    Task(
        "title",
        "Write headline(text) in Python, which capitalises the first letter of every word and "
        "leaves all other letters as they are.",
        """
        def headline(text):
            words = [w[0].upper() + w[1:] for w in text.split()]
            return " ".join(words)
        """,
        (
            ("wrong-value", "w[0].upper() + w[1:]", "w.capitalize()"),
            ("off-by-one", "w[1:]", "w"),
            ("wrong-value", "w[0].upper() + w[1:]", "w[0].upper() + w[1:].upper()"),
        ),
        "assert headline('made in the USA') == 'Made In The USA'",
    ),
    Task(
        "count_pairs",
        "Write count_pairs(text) in Python that counts how often two equal characters stand next "
        'to each other; "aaa" has two such places.',
        """
        def count_pairs(text):
            count = 0
            for i in range(len(text) - 1):
                if text[i] == text[i + 1]:
                    count += 1
            return count
        """,
        (
            ("off-by-one", "range(len(text) - 1)", "range(len(text))"),
            ("off-by-one", "range(len(text) - 1)", "range(len(text) - 2)"),
            ("wrong-operator", "text[i] == text[i + 1]", "text[i] == text[i + 2]"),
        ),
        "assert count_pairs('aaa') == 2\nassert count_pairs('abba') == 1\n"
        "assert count_pairs('') == 0",
    ),
    Task(
        "run_lengths",
        'Write compress(text) in Python: "aaab" becomes "a3b1", that is, every run of one '
        "character is written as the character and its length.",
        """
        def compress(text):
            result, start = "", 0
            for i in range(1, len(text) + 1):
                if i == len(text) or text[i] != text[start]:
                    result += text[start] + str(i - start)
                    start = i
            return result if text else ""
        """,
        (
            ("off-by-one", "str(i - start)", "str(i - start + 1)"),
            ("off-by-one", "range(1, len(text) + 1)", "range(1, len(text))"),
            ("wrong-value", "start = i\n", "start = i - 1\n"),
        ),
        "assert compress('aaab') == 'a3b1'\nassert compress('z') == 'z1' and compress('') == ''",
    ),
    Task(
        "same_ends",
        "Write same_ends(text) in Python that says whether the first $k and the last $k "
        "characters of a text are the same. Texts shorter than $k give False.",
        """
        def same_ends(text):
            if len(text) < $k:
                return False
            return text[:$k] == text[-$k:]
        """,
        (
            ("missing-edge-case", "    if len(text) < $k:\n        return False\n", ""),
            ("off-by-one", "len(text) < $k", "len(text) <= $k"),
            ("wrong-value", "text[-$k:]", "text[$k:]"),
        ),
        "assert same_ends('abc'[:$k] + 'zz' + 'abc'[:$k])\nassert not same_ends('a' * ($k - 1))\n"
        "assert same_ends('a' * $k) and not same_ends('abcdefghi')",
        ({"k": "2"}, {"k": "3"}),
    ),
    Task(
        "mask",
        "Write mask(text) in Python that replaces every character except the last $k with a star.",
        """
        def mask(text):
            hidden = max(len(text) - $k, 0)
            return "*" * hidden + text[hidden:]
        """,
        (
            ("missing-edge-case", "max(len(text) - $k, 0)", "len(text) - $k"),
            ("wrong-value", "text[hidden:]", "text[:hidden]"),
            ("off-by-one", "len(text) - $k, 0", "len(text) - $k + 1, 0"),
        ),
        "assert mask('1234567') == '*' * (7 - $k) + '1234567'[7 - $k:]\n"
        "assert mask('123'[: $k - 1]) == '123'[: $k - 1]",
        ({"k": "4"}, {"k": "3"}),
    ),
    Task(
        "most_common",
        "Write a Python function most_common(text) that returns the character that occurs most "
        "often; the text is not empty, and on a tie the earliest character wins.",
        """
        def most_common(text):
            best = text[0]
            for letter in text:
                if text.count(letter) > text.count(best):
                    best = letter
            return best
        """,
        (
            ("missing-edge-case", ") > text.count(best)", ") >= text.count(best)"),
            ("wrong-operator", ") > text.count(best)", ") < text.count(best)"),
            ("wrong-return", "return best", "return text.count(best)"),
        ),
        "assert most_common('abcbd') == 'b'\nassert most_common('xyxy') == 'x'",
    ),
    Task(
        "camel",
        'Write camel(name) in Python to turn a name such as "$sample" into "$out".',
        """
        def camel(name):
            first, *rest = name.split("$sep")
            return first + "".join(part.capitalize() for part in rest)
        """,
        (
            ("missing-edge-case", "part.capitalize()", "part"),
            ("wrong-value", "return first + ", "return first.capitalize() + "),
            ("missing-part", "return first + ", "return "),
        ),
        "assert camel('$sample') == '$out'\nassert camel('one') == 'one'",
        (
            {"sample": "max_line_size", "out": "maxLineSize", "sep": "_"},
            {"sample": "font-family-name", "out": "fontFamilyName", "sep": "-"},
        ),
    ),
    Task(
        "anagram",
        "Write are_anagrams(a, b) in Python: True if both words use exactly the same letters "
        "equally often, whatever the case.",
        """
        def are_anagrams(a, b):
            return sorted(a.lower()) == sorted(b.lower())
        """,
        (
            (
                "wrong-value",
                "sorted(a.lower()) == sorted(b.lower())",
                "set(a.lower()) == set(b.lower())",
            ),
            ("missing-edge-case", "sorted(b.lower())", "sorted(b)"),
            ("wrong-operator", "sorted(a.lower()) ==", "sorted(a.lower())[1:] =="),
        ),
        "assert are_anagrams('Listen', 'siLent')\nassert not are_anagrams('aab', 'abb')",
    ),
    Task(
        "balanced",
        "Write balanced(text) in Python that checks whether every $open in the text is closed by "
        "a later $close and nothing is closed too early.",
        """
        def balanced(text):
            depth = 0
            for c in text:
                if c == "$open":
                    depth += 1
                elif c == "$close":
                    depth -= 1
                if depth < 0:
                    return False
            return depth == 0
        """,
        (
            (
                "missing-edge-case",
                "        if depth < 0:\n            return False\n",
                "",
            ),
            ("wrong-return", "return depth == 0", "return depth >= 0"),
            ("off-by-one", "depth < 0", "depth <= 0"),
        ),
        "assert balanced('$open$open$close x $close') and balanced('')\n"
        "assert not balanced('$close$open') and not balanced('$open')",
        ({"open": "(", "close": ")"}, {"open": "[", "close": "]"}),
    ),
)
