"""What a model file says about itself: its graph, what it needs, and which runtimes take it.

Reads files and nothing else: no board, no compiler, no extra. Nothing is run or measured.
"""
