"""Recovery: the dense model teaches the compressed one."""
