"""Exporters: one file per format."""

from slimfront.search.export.exporter import EXPORTERS, Exporter, export, verify

__all__ = ["EXPORTERS", "Exporter", "export", "verify"]
