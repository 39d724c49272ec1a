"""Kernels by TVM, in a process of its own: expression, schedule, TVM's passes, its C back end.

`python -m harness.runtimes.tvm.lower JOB.json OUT.c`, started by `kernels.py`. A kernel takes plain
pointers, so the C needs neither TVM's runtime nor its headers.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# TVM would import PyTorch where it is installed, to exchange tensors: three quarters of its start.
sys.modules["torch"] = None  # type: ignore[assignment]

import tvm  # noqa: E402
from tvm import s_tir, te, tirx  # noqa: E402

from harness.runtimes.tvm.expressions import EXPRESSIONS  # noqa: E402

Kernel = Mapping[str, Any]
INLINED = ("padded", "biased")
REDUCED = ("sum", "largest")
"""Consumers first: Softmax's sum reads its largest."""


def passes(target: Any) -> Any:
    """From a scheduled function with buffers to flat loops, as TVM's own build does it."""
    return tvm.ir.transform.Sequential(
        [
            tirx.transform.BindTarget(target.with_host(target)),
            s_tir.transform.CanonicalizeLoop(),
            s_tir.transform.LowerInitBlock(),
            s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
            s_tir.transform.ConvertBlocksToOpaque(),
            s_tir.transform.CompactBufferAllocation(),
            s_tir.transform.LowerMatchBuffer(),
            tirx.transform.StmtSimplify(),
            s_tir.transform.LowerOpaqueBlock(),
            tirx.transform.FlattenBuffer(),
            tirx.transform.NarrowDataType(32),
            s_tir.transform.LoopPartition(),
            tirx.transform.StorageRewrite(),
            tirx.transform.StmtSimplify(),
            tirx.transform.RemoveNoOp(),
            s_tir.transform.RewriteUnsafeSelect(),
            tirx.transform.CommonSubexprElim(),
        ]
    )


def schedule(function: Any) -> Any:
    """Padding and bias go into the expression that reads them, each sum into the loop of its result."""
    plan = s_tir.Schedule(tvm.IRModule({"main": function}))
    names = [plan.get(block).name_hint for block in plan.get_child_blocks(plan.get_sblock("root"))]
    for name in INLINED:
        if name in names:
            plan.compute_inline(plan.get_sblock(name))
    for name in REDUCED:
        if name not in names:
            continue
        block = plan.get_sblock(name)
        kinds = [int(axis.iter_type) for axis in plan.get(block).iter_vars]
        summed = sum(kind == tirx.IterVar.CommReduce for kind in kinds)
        outer = plan.get_loops(plan.get_sblock("output"))
        plan.compute_at(block, outer[len(kinds) - summed - 1], preserve_unit_loops=True)
        plan.decompose_reduction(block, plan.get_loops(block)[-summed])
    return plan.mod["main"]


def on_pointers(function: Any, name: str, target: Any) -> Any:
    """The lowered function with a pointer for each buffer, in place of TVM's own calling convention."""
    pointers = [tirx.Var(buffer.name, tirx.buffer_data_pointer_type(buffer)) for buffer in function.params]
    views = [
        tirx.DeclBuffer(buffer, data=pointer)
        for buffer, pointer in zip(function.params, pointers, strict=True)
    ]
    body = tirx.SeqStmt([*views, function.body])
    return tirx.PrimFunc(pointers, body).with_attr("global_symbol", name).with_attr("target", target)


def c_source(kernel: Kernel, target: Any) -> str:
    """One kernel's C function."""
    buffers = [te.placeholder(item["shape"], item["dtype"], item["name"]) for item in kernel["buffers"]]
    output = EXPRESSIONS[kernel["expression"]](buffers, kernel["output"], **kernel["numbers"])
    function = schedule(te.create_prim_func([*buffers, output]))
    name = kernel["name"]
    function = function.with_attr("global_symbol", name)
    with tvm.transform.PassContext(opt_level=3):
        lowered = passes(target)(tvm.IRModule({name: function}))[name]
        module = tvm.IRModule({name: on_pointers(lowered, name, target)})
        module = tirx.transform.LowerIntrin()(tirx.transform.LowerTVMBuiltin()(module))
        text = tvm.get_global_func("target.build.c")(module, target).inspect_source()
    return bare(text, name, [item["name"] for item in kernel["buffers"]])


def bare(text: str, name: str, inputs: list[str]) -> str:
    """TVM's C without what surrounds the function; inputs become const.

    Raises:
        RuntimeError: the text is not of the form that this version of TVM writes.
    """
    match = re.search(rf"^TVM_DLL (void {name}\(([^)]*)\) {{.*^}})$", text, re.MULTILINE | re.DOTALL)
    if match is None or "TVMBackend" in match[1]:
        raise RuntimeError(f"unexpected C for {name}:\n{text}")
    parameters = [
        f"const {parameter}" if parameter.split()[-1] in inputs else parameter
        for parameter in match[2].split(", ")
    ]
    return match[1].replace(match[2], ", ".join(parameters), 1)


def main() -> None:
    job, out = Path(sys.argv[1]), Path(sys.argv[2])
    target = tvm.target.Target("c")
    kernels = json.loads(job.read_text(encoding="utf-8"))
    out.write_text("\n\n".join(c_source(kernel, target) for kernel in kernels) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
