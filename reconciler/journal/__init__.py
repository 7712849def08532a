"""Owns the durable journal: what was intended, sent, answered and decided, and who holds a pool.

Nothing is imported here: values and the ``Journal`` protocol stand in ``records`` (cheap to import),
``store.open_journal`` opens one and costs the import of SQLAlchemy.
"""
