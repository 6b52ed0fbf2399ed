"""What counts: objectives measured on an artifact, and the runtimes that make and run artifacts."""
