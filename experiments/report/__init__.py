"""The report of runs: read from their folders, summed up, with pictures, on one page."""
