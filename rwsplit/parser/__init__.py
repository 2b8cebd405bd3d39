"""The parser process: where texts are read that would hold up everybody else, and what speaks with it."""
