"""The simulated singer: how people err, and how it sounds."""
