"""Where a hum lies in which songs: alignment, search, votes, and the judgement made of them."""
