"""Methods: one file per published system, all guests of one loop behind one protocol."""
