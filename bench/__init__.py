"""What is promised in figures, measured: each module prints a table and one line of JSON."""
