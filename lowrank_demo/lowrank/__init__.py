"""The paper's method: rank selection, the learning-compression algorithm, and networks cut to other ranks."""
