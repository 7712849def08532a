"""What the flows of ready-made files share: those of the other flows, and what they install."""

import pytest

from tests.flows.conftest import run, served
from tests.postgres import postgres
from tests.scaffolds.installing import Installer, shared_folder

__all__ = ["postgres", "run", "served"]


@pytest.fixture(scope="session")
def installer(tmp_path_factory: pytest.TempPathFactory) -> Installer:
    """Runs the lines that install."""
    return Installer(shared_folder(tmp_path_factory.getbasetemp()))
