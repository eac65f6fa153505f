"""Executes one notebook by Papermill, and says what it was executed with and how much memory that took."""

import contextlib
import os
import platform
import tempfile
import threading
from importlib import metadata
from pathlib import Path

import nbformat
import psutil

from ...errors import Failure, UnusableFile
from ...files import check_writable

CELL_TIMEOUT_S = 3600
LONGEST = 70  # bytes of the folder for temporary files: with /tmp12345678/kernel-1 it stays under 104, all that macOS allows
NOTES = ("papermill", "execution")  # what Papermill and JupyterLab write into the metadata of cells
_LIBRARIES = (
    "rlli_core", "torch", "diffusers", "transformers", "numpy", "scipy", "scikit-image", "matplotlib", "papermill",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Of Python and of the libraries that results depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _LIBRARIES}}


def machine() -> str:
    """The system, the processor, as far as the system tells its name, and how many cores."""
    name = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    name = name or platform.processor()
    return f"{platform.system()} {platform.machine()}{f' ({name})' if name else ''}, {os.cpu_count()} cores"


def execute(path: Path, source: nbformat.NotebookNode, position: int) -> tuple[nbformat.NotebookNode, Failure | None]:
    """Run the cells of `source` where `path` lies; returns the notebook as far as it got, and why it failed or None.

    Args:
        position: line of its progress bar.
    """
    # Here, so that a notebook that only records numbers does not need what runs notebooks.
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    class OwnKernel(AsyncKernelManager):
        """Starts this interpreter, whatever JUPYTER_PATH or the user's folder has as `python3`."""

        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[])

    failure = None
    with tempfile.TemporaryDirectory(dir=_short()) as scratch:
        if not _has_home():  # or the page would say where else fonts and settings are kept
            os.environ |= {"MPLCONFIGDIR": f"{scratch}/matplotlib", "IPYTHONDIR": f"{scratch}/ipython"}
        given, executed = Path(scratch) / "given.ipynb", Path(scratch) / "executed.ipynb"
        nbformat.write(_clean(source, outputs=False), given)
        # The TCP ports of kernels that start together can clash, and so do sockets under their default name.
        # The file that names them goes with them, since a home may be one that nobody may write to. Windows has no such sockets
        # in its Python.
        kernel = {"connection_file": f"{scratch}/kernel.json"}
        if platform.system() != "Windows":
            kernel |= {"transport": "ipc", "ip": f"{scratch}/kernel"}
        sockets = {"KernelManager": kernel}
        try:
            papermill.execute_notebook(
                given,
                executed,
                kernel_name="python3",
                cwd=path.parent,
                start_timeout=120,
                execution_timeout=CELL_TIMEOUT_S,
                progress_bar={"desc": path.stem, "position": position, "leave": False, "disable": None},
                config=Config(sockets),
                kernel_manager_class=OwnKernel,
            )
        except PapermillExecutionError as error:
            failure = Failure(error.ename, f"cell {error.exec_count}: {error.ename}: {error.evalue}")
        except Exception as error:  # a dead kernel, a cell over its time limit: every way to fail is a failed run
            failure = Failure(type(error).__name__, f"{type(error).__name__}: {error}")
        result = _clean(nbformat.read(executed if executed.exists() else given, as_version=4))
    # After a kernel's death Papermill marks every cell as completed, so look at what the cells themselves show.
    if failure is None and (skipped := unexecuted(result)):
        failure = Failure("Unexecuted", f"{skipped} code cells were not executed")
    return result, failure


def _short() -> str | None:
    """Where temporary folders go: None for the usual place, unless a socket's name there would be longer than systems allow."""
    return "/tmp" if os.name == "posix" and len(os.fsencode(tempfile.gettempdir())) > LONGEST else None


def _has_home() -> bool:
    try:
        check_writable(Path.home())
    except (UnusableFile, RuntimeError):
        return False
    return True


def unexecuted(notebook: nbformat.NotebookNode) -> int:
    """How many code cells have not been run."""
    return sum(cell.cell_type == "code" and bool(cell.source) and cell.execution_count is None for cell in notebook.cells)


def _clean(notebook: nbformat.NotebookNode, outputs: bool = True) -> nbformat.NotebookNode:
    """Without Papermill's notes (paths of this machine, times of each cell) and, if asked, without outputs."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for note in NOTES:
            cell.metadata.pop(note, None)
        if cell.cell_type == "code" and not outputs:
            cell.outputs, cell.execution_count = [], None
    if not outputs:
        notebook.metadata.pop("widgets", None)
    return notebook


class PeakMemory:
    """Watches, while the `with` block runs, the processes that this one starts: here the kernel, and what it starts.

    Attributes:
        mib: largest resident set of one of them, in MiB. It is looked at every `INTERVAL_S` seconds, so a peak that is
            shorter can be missed.
    """

    INTERVAL_S = 0.2

    def __enter__(self) -> "PeakMemory":
        self.mib, self._over = 0, threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        here = psutil.Process()
        while not self._over.wait(self.INTERVAL_S):
            for process in here.children(recursive=True):
                with contextlib.suppress(psutil.Error):  # it has just ended
                    self.mib = max(self.mib, round(process.memory_info().rss / 2**20))
