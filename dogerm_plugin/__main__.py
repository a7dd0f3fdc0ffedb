"""`python -m dogerm_plugin recipe.yml out/`: mergekit-yaml, with an import instead of the hook."""

from dogerm_plugin import _autoload


def main() -> None:
    """Run mergekit-yaml's own command; it takes the same arguments."""
    _autoload.install(force=True)
    from mergekit.scripts.run_yaml import main as command

    command(prog_name="python -m dogerm_plugin")


if __name__ == "__main__":
    main()
