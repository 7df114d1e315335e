"""Many runs of one graph that differ in a few values: what `mlograph sweep` does.

A command goes through `values` and `axes` (words to axes), `settings` (axes to runs), `folder`
(where it is kept) and `pool` (processes), and ends in `table` and `page`.
"""
