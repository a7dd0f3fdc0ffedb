"""Build time only: places the `.pth` that runs `_autoload.install` at interpreter start.

`package_data` and `data_files` miss editable installs, where the package stays in the checkout
and only the metadata goes to site-packages. So the file is written by `build_py` itself: into
the wheel's root, and for an editable install into the root of the editable wheel. Both list it in
RECORD, hence `pip uninstall` removes it.
"""

from pathlib import Path

from setuptools.command.build_py import build_py

PTH = "dogerm_autoload.pth"
# Python reads only lines that start with "import". The exec is for an editable install whose
# checkout was moved or deleted: without it every interpreter of the environment would complain.
LINE = (
    "import sys; exec('try:\\n import dogerm_plugin._autoload as hook\\n"
    "except ModuleNotFoundError:\\n pass\\nelse:\\n hook.install()')\n"
)


class BuildPy(build_py):
    """`build_py`, and then the `.pth`."""

    def run(self) -> None:
        super().run()
        target = Path(self._root()) / PTH
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(LINE, encoding="utf-8")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), str(Path(self._root()) / PTH)]

    def _root(self) -> str:
        if self.editable_mode:
            return self.get_finalized_command("install").install_lib
        return self.build_lib
