"""Sends notifications to webhooks, and writes gauges for Prometheus.

The text of a message is left to ``render``, when to send it to ``cli``.
"""
