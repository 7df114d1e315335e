"""The time, the memory and the hypergradient of one outer update, library by library."""
