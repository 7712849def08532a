"""Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools."""

__version__ = "0.1.0"
