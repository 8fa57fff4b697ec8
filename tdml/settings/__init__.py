"""The settings: how they are written, read, checked and turned into objects."""
