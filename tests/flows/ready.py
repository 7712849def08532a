"""Does once, when it is imported, what each of many forks would do anew whatever it is asked.

That is to import what commands import late, to build the models that are known by then, and to compile what every
journal is asked when it is opened. What is there by then is shared by all forks, and never collected in any.
"""

from __future__ import annotations

import gc
import importlib
import os
import tempfile
from typing import Any

for _name in (
    *(
        "anyio._backends._asyncio",
        "certifi",
        "h11",
        "httpcore",
        "httpx",
        "platformdirs",
        "psycopg",
        "pydantic.dataclasses",
    ),
    *("queue", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite"),
    *("click.decorators", "yaml"),
):
    importlib.import_module(_name)

os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # as the command line does
_kinds: list[Any] = [importlib.import_module("pydantic").BaseModel]
for _kind in _kinds:
    _kinds += _kind.__subclasses__()
    if _kind.__module__.startswith("reconciler."):
        _kind.model_rebuild()
with tempfile.TemporaryDirectory() as _folder:
    _clock = importlib.import_module("reconciler.clock").SystemClock()
    importlib.import_module("reconciler.journal.store").open_journal(
        f"sqlite:///{_folder}/journal.db", _clock.now
    ).close()
gc.collect()
gc.freeze()
