"""What programs print and draw: terminal, pictures, pages, names of any script."""
