"""What every room of the house uses."""
