"""What the flows of ready-made files share: those of the other flows, and what they install."""

import pytest

from tests.flows.conftest import run, served
from tests.scaffolds.installing import Installer
from tests.shared import shared_folder

__all__ = ["run", "served"]


@pytest.fixture(scope="session")
def installer(tmp_path_factory: pytest.TempPathFactory) -> Installer:
    """Runs the lines that install."""
    return Installer(shared_folder(tmp_path_factory.getbasetemp()) / "installed")
