"""Where a teacher comes from: one protocol, one table of kinds, one file per kind."""
