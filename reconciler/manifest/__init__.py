"""Reads YAML manifests into the desired state, and writes manifests for live pools.

Comparing desired with live is the job of ``reconciler.planning.matching``. Import from the modules: this file
stays empty so that ``reconciler version`` does not load YAML and pydantic.
"""
