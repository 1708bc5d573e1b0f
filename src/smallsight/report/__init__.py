"""Reports on a run, made from its journal: analysis, JSON, CSV, HTML, terminal. No torch here."""
