"""How a collection of recordings gets its table of songs: charts, tables, file names."""
