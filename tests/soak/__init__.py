"""A watch that corrects for a long time, under faults, kills and edits: ``python -m tests.soak --minutes 30``."""
