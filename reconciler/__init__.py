"""Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools."""

__version__ = "0.1.0"
DISTRIBUTION = "desktop-pool-reconciler"
"""What pip knows this package as. The name ``reconciler`` on the public index belongs to somebody else's package."""
