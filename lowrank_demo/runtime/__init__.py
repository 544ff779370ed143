"""How work runs, whatever it is: atomic files, progress, stopping, processes, memory."""
