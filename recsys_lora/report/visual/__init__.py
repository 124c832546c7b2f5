"""report.html: results of runs as figures and tables in one self-contained file."""
