import pytest

from rlli_core.qoe.judge import Judge


@pytest.fixture(scope="session")
def judge():
    """The shipped judge."""
    return Judge.from_pretrained("embedded")
