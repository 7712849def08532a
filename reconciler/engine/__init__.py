"""The order of a whole run, from resolving earlier operations to the closing proof.

Each step is left to the package named after it; printing and asking to ``cli``.
"""
