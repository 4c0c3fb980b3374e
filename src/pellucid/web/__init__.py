"""Pages that open offline."""

from __future__ import annotations

from pellucid.web.report import write_comparison, write_report

__all__ = ["write_comparison", "write_report"]
