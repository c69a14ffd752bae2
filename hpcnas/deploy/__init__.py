"""Models that leave hpcnas: graphs to be traced, their files, and how those are checked."""
