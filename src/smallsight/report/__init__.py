"""The journal told to people: analysis, JSON, CSV, terminal. No torch here."""
