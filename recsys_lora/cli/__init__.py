"""The command line: verbs, run folders and their status, and the launchers of a sweep's jobs."""
