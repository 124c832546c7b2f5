"""What every other package uses: errors, types with ranges, files, the console."""
