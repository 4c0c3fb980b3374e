"""The explorer: every feature of a run, what it does, and a place to try it, in a browser on this machine."""

from pellucid.web.explorer.export import export
from pellucid.web.explorer.serve import explore

__all__ = ["explore", "export"]
