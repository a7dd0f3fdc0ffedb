"""Training rows that this project makes itself: seeded, and with answers that are computed."""
