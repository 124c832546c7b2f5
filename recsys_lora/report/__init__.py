"""Results of runs, for people and programs: tables, metrics.json, comparisons, reports, the environment."""
