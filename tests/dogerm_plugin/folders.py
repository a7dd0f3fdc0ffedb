"""Output folders with files of the user's and of a merge's in them."""

from pathlib import Path

from dogerm_plugin.run import manifest, output


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def write(target: Path, files: dict[str, str]) -> None:
    """What a merge does: these files are the output."""
    with output.staged(str(target)) as stage:
        put(stage, files)


def texts(folder: Path) -> dict[str, str]:
    """All files below a folder but the manifest."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != manifest.NAME
    }
