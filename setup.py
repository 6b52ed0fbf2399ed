"""Find every sub-package of the four source folders; see ``pyproject.toml`` for everything else."""

from setuptools import find_packages, setup

ROOMS = ("search", "spaces", "objectives", "studies")
FOUND = [f"slimfront.{p}" for room in ROOMS for p in (room, *(f"{room}.{s}" for s in find_packages(room)))]
setup(packages=FOUND)
