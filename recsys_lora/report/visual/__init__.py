"""report.html: what runs found, as pictures and tables in one file that needs no other."""
