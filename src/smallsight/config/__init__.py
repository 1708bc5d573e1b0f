"""Configuration: files and overrides become one validated value."""
