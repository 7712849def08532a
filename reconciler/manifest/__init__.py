"""Owns the way from YAML files to desired state, and from live pools back to YAML.

Comparing desired with live is left to ``reconciler.planning.matching``. Import from the modules: this package
file stays empty so that ``reconciler version`` does not pay for YAML and pydantic.
"""
