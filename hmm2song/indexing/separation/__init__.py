"""A recording -> its singing voice and its accompaniment, by one of several backends."""
