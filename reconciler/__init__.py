"""Declarative reconciler for the data disks of Huawei Cloud Workspace desktop pools.

Programs use the names of ``__all__``, which ``library`` describes; every other name here and below is private.
"""

TYPE_CHECKING = False  # typing itself would be half of what `version` imports
if TYPE_CHECKING:
    from reconciler.library import (
        ApplyReport,
        ExitCode,
        Manifests,
        Place,
        Plan,
        ReconcilerError,
        apply_manifests,
        load_manifests,
        make_plan,
        render_plan,
    )

__all__ = [
    "ApplyReport",
    "ExitCode",
    "Manifests",
    "Place",
    "Plan",
    "ReconcilerError",
    "apply_manifests",
    "load_manifests",
    "make_plan",
    "render_plan",
]

__version__ = "0.1.0"
DISTRIBUTION = "desktop-pool-reconciler"
"""What pip knows this package as. The name ``reconciler`` on the public index belongs to somebody else's package."""

if not TYPE_CHECKING:  # a type checker would take it for every name there could be

    def __getattr__(name):
        """Import what programs use when they use it: commands must not wait for it."""
        if name in __all__:
            from reconciler import library  # noqa: PLC0415 - see above

            return getattr(library, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
