"""What a plan allows beside rates and credits: its days and months, who is refused, who is warned, what would help."""
