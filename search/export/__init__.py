"""Exporters: one file per format."""

from slimfront.search.export.exporter import EXPORTERS, Exporter, export, moved_front, verify

__all__ = ["EXPORTERS", "Exporter", "export", "moved_front", "verify"]
