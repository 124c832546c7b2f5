"""What a run leaves for people and for programs: the table, metrics.json, the record of its environment."""
