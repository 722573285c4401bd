"""Where files are measured and how: the runner, this machine, and their records."""
