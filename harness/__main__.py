"""`python -m harness ...`: lm_eval, with an import instead of the hook."""

import sys

from dogerm_plugin import _autoload


def main() -> None:
    """Run lm_eval's own command; it takes the same arguments."""
    _autoload.install(force=True)
    from lm_eval.__main__ import cli_evaluate

    sys.argv[0] = "lm_eval"
    cli_evaluate()


if __name__ == "__main__":
    main()
