"""Running exported files: one protocol, one module per runtime; what a board executes."""
