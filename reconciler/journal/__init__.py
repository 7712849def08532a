"""The durable journal: what was intended, sent, answered and decided, and which run holds a pool.

What an entry means for a run is left to ``apply`` and ``engine``. Import values and the ``Journal`` protocol from
``records``, which is cheap; ``store.open_journal`` costs the import of SQLAlchemy.
"""
