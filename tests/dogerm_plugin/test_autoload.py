"""The hook: what it does to an import, and what it never does."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

from dogerm_plugin import _autoload


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host package of one module, `pretend_host.part`, hooked to this test module."""
    (tmp_path / "pretend_host").mkdir()
    (tmp_path / "pretend_host" / "__init__.py").write_text("")
    (tmp_path / "pretend_host" / "part.py").write_text("value = 'original'\n")
    (tmp_path / "pretend_hook.py").write_text(
        "calls = []\n"
        "def works(module):\n    calls.append(module.value)\n    module.value = 'changed'\n"
        "def fails(module):\n    raise RuntimeError('line one\\nline two')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "pretend_host.part"
    for name in [n for n in sys.modules if n.startswith("pretend_")]:
        del sys.modules[name]
    _autoload._refused.discard("pretend_host")


def test_runs_after_the_module(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function sees the finished module, once, and the loader stays the host's own."""
    monkeypatch.setitem(_autoload.AFTER, host, "pretend_hook:works")
    module = importlib.import_module(host)
    assert module.value == "changed"
    assert sys.modules["pretend_hook"].calls == ["original"]
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert "original" in inspect.getsource(module)


def test_failure_is_one_line(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The host is imported all the same."""
    monkeypatch.setitem(_autoload.AFTER, host, "pretend_hook:fails")
    assert importlib.import_module(host).value == "original"
    said = "dogerm: not active in pretend_host: RuntimeError: line one line two\n"
    assert capsys.readouterr().err == said


def test_install_is_idempotent() -> None:
    """A second call, as an editable install beside a wheel would make, adds nothing."""
    before = list(sys.meta_path)
    _autoload.install(force=True)
    assert sys.meta_path == before
    assert _autoload.is_active()


def test_install_obeys_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """DOGERM_AUTOLOAD=0 keeps the finder out."""
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.setenv("DOGERM_AUTOLOAD", "0")
    _autoload.install()
    assert sys.meta_path == []


def test_install_catches_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host imported before the hook is patched when the hook comes."""
    module = importlib.import_module(host)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _autoload._Finder)]
    monkeypatch.setattr(_autoload, "AFTER", {host: "pretend_hook:works"})
    _autoload.install(force=True)
    assert module.value == "changed"


def test_untested_release_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mergekit outside the tested range is not half-patched: one line says what to install."""
    from mergekit.merge_methods import registry

    from dogerm_plugin import patches

    monkeypatch.setattr(patches, "version", lambda _: "0.9.0")
    _autoload._run("dogerm_plugin.patches:register_methods", registry)
    _autoload._run("dogerm_plugin.patches:register_methods", registry)
    _autoload._refused.discard("mergekit")
    (line,) = capsys.readouterr().err.splitlines()
    assert "mergekit 0.9.0 is installed" in line and "pip install" in line
