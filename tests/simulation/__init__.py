"""A seeded simulation of the real apply code: virtual time, a lying and failing service, crashes.

Replay one seed: ``python -m tests.simulation SEED``. Many: ``python -m tests.simulation 0 200000``.
"""
