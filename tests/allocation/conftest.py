import pytest

from rlli_core.allocation import Service, ServiceConfig

from . import madeup


@pytest.fixture(scope="session")
def source():
    return madeup.FormulaQoE()


@pytest.fixture(scope="session")
def service(source):
    return Service(ServiceConfig(), source)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return madeup.write(tmp_path_factory.mktemp("table") / "t.npz")
