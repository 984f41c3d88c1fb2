"""The native library: compiled on the user's machine, for its processor."""
