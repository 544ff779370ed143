"""What every part needs: atomic files, checked data, progress, stopping, processes, memory."""
