# SPDX-License-Identifier: Apache-2.0
"""The functions of an invented programming library: where they are, what they take and give."""

from __future__ import annotations

from harness.training.generated.invented import Invented, names, relation

FUNCTIONS = Invented(
    "functions",
    names(
        "fold_ trim_ pack_ link_ scan_ melt_ bind_ tilt_ peel_ wrap_ knit_ sift_ dock_ mask_ rank_ "
        "push_ ward_ skew_ loft_ clip_ hook_ mesh_ roll_ seal_ tame_ vary_ weld_ zoom_ graft_ "
        "hoist_",
        "ring leaf gate mesh tile node seam cell beam rail shard pulse grove crate plume vault "
        "delta quill",
    ),
    (
        relation(
            "In which module is {thing}?",
            "{thing} is in {value}.",
            "math, json, random, socket, email, calendar, queue, string, logging, threading, "
            "pickle, statistics, zipfile, decimal, html, shutil",
        ),
        relation(
            "Which type is returned by {thing}?",
            "{thing} returns a {value}.",
            "list, dictionary, string, tuple, set, number, boolean, generator, date, matrix, file, "
            "thread, table, graph, lock, queue",
        ),
        relation(
            "What is the default format of {thing}?",
            "The default format of {thing} is {value}.",
            "JSON, XML, CSV, HTML, YAML, PDF, PNG, ASCII, Markdown, binary, hexadecimal, Unicode, "
            "gzip, SQL, JPEG, MP3",
        ),
        relation(
            "What kind of thing is {thing}?",
            "{thing} is a kind of {value}.",
            "parser, iterator, decorator, filter, compiler, cache, encoder, timer, counter, "
            "logger, sorter, printer, server, scheduler, converter, hash",
        ),
        relation(
            "Which error is raised by {thing}?",
            "The error raised by {thing} is {value}.",
            "TypeError, ValueError, KeyError, IndexError, MemoryError, ImportError, SyntaxError, "
            "TimeoutError, OverflowError, NameError, LookupError, RuntimeError, PermissionError, "
            "ZeroDivisionError, RecursionError, UnicodeError",
        ),
    ),
)
