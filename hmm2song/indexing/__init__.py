"""From files to a catalog: what to read, one file to melodies, all of them in parallel."""
