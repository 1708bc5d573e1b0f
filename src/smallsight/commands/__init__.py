"""What each command does; the command line parses, these act."""
