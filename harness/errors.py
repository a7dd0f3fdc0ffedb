# SPDX-License-Identifier: Apache-2.0
"""The one exception that this package raises at its users."""


class HarnessError(ValueError):
    """A mistake that the user can repair.

    The message is one line: what was found, where, what was expected, and the way out.
    It is a ``ValueError`` because that is what lm-eval itself raises for bad input.
    """
