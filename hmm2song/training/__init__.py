"""Training of the encoder on hums of a simulated singer: how people err, and how it sounds."""
