"""Student families: how an :class:`~edgekd.records.ArchSpec` becomes a module, and its cost."""
