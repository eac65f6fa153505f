from .runner.config import NotebookConfig as NotebookConfig
from .runner.config import choice as choice
from .runner.config import each as each
from .runner.config import number as number
from .runner.config import text as text
from .runner.config import whole as whole
from .runner.recording import intervals as intervals
from .runner.recording import record as record
