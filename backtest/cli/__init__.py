"""The command line: what it reads, what it prints, what it writes."""
