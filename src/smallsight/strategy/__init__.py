"""Which phase comes next, and why: pure decisions over a journal of facts. No torch here."""
