"""The method of the paper: rank selection, the learning-compression algorithm, networks at other ranks."""
