"""Used by every other package: errors, types with ranges, files, the console."""
