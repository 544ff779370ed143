"""How work runs: atomic files, progress, stopping, look-ahead threads, processes, memory."""
