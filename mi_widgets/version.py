"""The version, alone in its file so that builds and recipes can read it without importing anything."""

__version__ = "0.1.0"
