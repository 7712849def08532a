"""What the flows of ready-made files share with the other flows."""

from tests.flows.conftest import run, served

__all__ = ["run", "served"]
