"""Programs that lie in exported folders."""
