"""The first source system: a network over mel spectrograms, and how its clips were made."""
