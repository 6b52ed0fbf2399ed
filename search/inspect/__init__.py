"""Shows a run: table, JSON, CSV, picture."""
