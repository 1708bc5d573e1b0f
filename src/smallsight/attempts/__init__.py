"""Running an attempt in other processes, here or on other machines. No torch."""
