"""The simulated service alone: it must answer as the real one is documented to answer."""
