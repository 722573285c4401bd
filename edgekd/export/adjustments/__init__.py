"""Changes of the float network that make its int8 file err less: proposed here, judged by files."""
