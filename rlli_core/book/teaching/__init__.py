"""What the pages "From the beginning" compute and draw: the smallest case of each idea that still shows its effect."""
