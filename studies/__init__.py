"""What is to be compressed: the study's schema, models, tasks and data."""
