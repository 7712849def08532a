"""Messages to people and programs elsewhere, and gauges for Prometheus.

What a message says is left to ``render``; when one is sent to ``cli``.
"""
