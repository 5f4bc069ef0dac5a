"""The second source system: an auto-encoder said to carry melody, and voices told apart by contrast."""
