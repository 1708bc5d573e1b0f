"""What a run is: its folder, its journal, the state folded from it. No torch."""
