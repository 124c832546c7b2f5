"""The command line: its verbs, which folder a run works in and how it stands, the launchers of a sweep's jobs."""
