"""What would change and what that destroys: pure functions from values to values, without I/O or a clock.

Reading the live pools is left to ``workspace``; carrying a plan out to ``apply``.
"""
