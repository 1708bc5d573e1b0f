"""How an attempt is carried out in another process or on another machine. No torch."""
