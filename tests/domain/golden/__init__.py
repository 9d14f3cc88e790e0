"""What was once written must decode for ever."""
