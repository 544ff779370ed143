"""LMDB files in tensorpack's format: records, reading, writing, manifests."""
