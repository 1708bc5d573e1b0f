"""What is wrong with a dataset before anything is trained on it, and which resolution its objects need."""
