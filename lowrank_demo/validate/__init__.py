"""Top-1 and top-5 errors on an LMDB file: one pass for any number of models, its state and its report."""
