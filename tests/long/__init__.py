"""What takes an hour and is no part of CI: kills, fuzz, a soak and faults, with counts (docs/reliability.md)."""
