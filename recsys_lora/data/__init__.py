"""From raw files to one table, and from the table to histories and batches."""
