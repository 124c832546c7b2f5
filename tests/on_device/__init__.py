"""`python -m tests.on_device`: whole runs on the device that is there, each a row of the table at the end."""
