"""One tiny Llama reward model and two language models of one vocabulary, made once."""

import shutil
from pathlib import Path

import merging
import pytest
import tiny
from merging import Trio


@pytest.fixture(scope="session")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Trio:
    """Shared: tests that change a model copy it first (`own_trio`)."""
    folder = tmp_path_factory.mktemp("trio")
    found = Trio(*tiny.save_pair(folder, "llama"), folder / "other")
    tiny.save_language_model(found.other, "llama", seed=2)
    for path in found:
        merging.save_tokenizer(path, merging.words(96))
    return found


@pytest.fixture
def own_trio(trio: Trio, tmp_path: Path) -> Trio:
    """Copies that a test may damage."""
    return Trio(*(Path(shutil.copytree(path, tmp_path / path.name)) for path in trio))
