"""The hypergradients of several libraries, judged by closed forms."""
