"""The command line without a budget of requests: ``python -m tests.benchmarks.unbudgeted apply …``.

For measuring alone. The real service refuses more than its limits.
"""

from __future__ import annotations

from reconciler.api import budget
from reconciler.cli.main import main

if __name__ == "__main__":
    budget.READS_A_MINUTE = budget.WRITES_A_MINUTE = 1_000_000
    main()
