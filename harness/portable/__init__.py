"""Artifact to plan to C99: kernels generated for one model, for any C compiler.

`plan.make_plan` resolves a graph, `project.write_project` writes the engine. What a
model computes is the runtime's business; only integers are handled here.
"""
