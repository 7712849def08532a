"""Runs the steps of a whole run in order, from resolving earlier operations to the final plan.

Each step is left to the package named after it; printing and prompting to ``cli``.
"""
