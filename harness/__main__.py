"""`python -m harness ...`: lm_eval, with an import instead of the hook; or a word of `dogerm`."""

import sys

from dogerm_plugin import _autoload
from harness.commands import cli


def main() -> None:
    """Run lm_eval's own command with the same arguments, or dogerm's.

    Launchers of several processes start modules: `accelerate launch -m harness train reward ...`.
    """
    if sys.argv[1:2] and sys.argv[1] in cli.COMMANDS:
        cli.main(prog_name="dogerm")
        return
    _autoload.install(force=True)
    from lm_eval.__main__ import cli_evaluate

    sys.argv[0] = "lm_eval"
    cli_evaluate()


if __name__ == "__main__":
    main()
