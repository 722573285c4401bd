"""Reports: from the records on disk alone, as HTML, Markdown or terminal text."""
