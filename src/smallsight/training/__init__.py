"""One attempt of one phase: a child process that trains, evaluates and checkpoints."""
