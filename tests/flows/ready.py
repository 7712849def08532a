"""Does once, when it is imported, what each of many forks would do anew whatever it is asked.

That is to import what commands import late, and to build the models that are known by then.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

for _name in (
    *(
        "anyio._backends._asyncio",
        "certifi",
        "h11",
        "httpcore",
        "httpx",
        "platformdirs",
        "pydantic.dataclasses",
    ),
    *("queue", "sqlalchemy.dialects.sqlite", "click.decorators", "yaml"),
):
    importlib.import_module(_name)

os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # as the command line does
_kinds: list[Any] = [importlib.import_module("pydantic").BaseModel]
for _kind in _kinds:
    _kinds += _kind.__subclasses__()
    if _kind.__module__.startswith("reconciler."):
        _kind.model_rebuild()
