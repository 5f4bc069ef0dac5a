"""Songs, their melodies and embeddings: in memory, on the disk and on the Hub."""
