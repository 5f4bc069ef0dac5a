"""A catalog in two dimensions, and in clusters with names.

Both are fitted on the sample of the catalog (:mod:`hmm2song.similar.neighbours`) and then given to every song, so that
they depend neither on the order of the songs nor on how the catalog came about. Axes and clusters have no sign and no
number of their own: the song that lies farthest out on an axis has a positive coordinate, and clusters are numbered by
size.

Clusters are those of k-means, begun at songs that are as far apart as can be. The plane is that of the principal
components of the clusters' centres as much as of the songs, which keeps clusters apart (as in linear discriminants,
but without whitening, so that distances on the map remain distances).
"""
