"""The simulated service by itself: what it answers must be what is documented of the real one."""
