"""The parts of the Discover and Runs pages: the form of a search, its estimate, its progress."""
