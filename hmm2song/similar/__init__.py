"""Songs like a song: by voice, style, feel and melody; paths between songs, and a map of a catalog.

What the page, the command line and other programs call, all of it in :mod:`hmm2song.similar.songs`::

    songs = SimilarSongs.load(source)        # a folder, a repository on the Hub, or None (the bundled catalog)
    songs.facets                             # {"voice": "", "style": "", "feel": "", "melody": "why it is missing"}
    songs.like(query, facets, top_k=10, genres=(), gender="any", years=None, only_known=False, guessed=False,
               per_artist=1)
                                             # -> SimilarResult: .songs (SimilarSong, ...), .notices, .to_dict()
    songs.moments(query, at_s=None, top_k=10, ...the same filters)  # -> MomentResult: .moments (SimilarMoment, ...)
    songs.path(first_id, last_id, n_steps=6, facets=None)           # -> SongPath: .songs, first and last included
    songs.map(facet=None, n_clusters=None)                          # -> SongMap: .points, .clusters

``query`` is the id of a song, a recording (a ``Path``, or the sample rate and samples), or the :class:`Facets` heard in
one.
``facets`` is None, the name of a preset (``"voice"``, ``"style"``, ``"feel"``, ``"tune"``, ``"all"``) or weights by
facet, such as ``{"voice": 1, "style": 0.5}``. ``per_artist=0`` lists any number of songs of one artist.
"""
