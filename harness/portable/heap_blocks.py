"""Activations on a heap of several regions, as a vendor's library takes them on the chip.

For firmware that is to show whether a network's blocks find room between a chip's regions: the heap is the
chip's, region by region, and a block that finds no room ends the inference with its name. What runs is the
same C as in the static arena. Knows no chip; the regions are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.portable.graph import Tensor
from harness.portable.memory import Buffer
from harness.portable.plan import Plan, activation_owners, bytes_apart
from harness.portable.source import Placement, arena_bytes, number_table
from harness.portable.step import Step

NO_ROOM = "no region of the heap has room for"


@dataclass(frozen=True)
class _Block:
    life: Buffer
    what: str


class HeapBlocks(Placement):
    """`apart`: a block for each activation, taken and given back as the layers run; else the whole arena
    is one block, as large as a library takes it in which no output lies over its input. `regions` are
    their sizes in bytes, in the order in which they are tried.
    """

    headers = ("region_heap.h",)

    def __init__(self, plan: Plan, regions: Sequence[int], *, apart: bool) -> None:
        super().__init__(plan)
        self._regions = regions
        self._blocks: list[_Block] = []
        # Of a tensor or a step's scratch: its block, and where in it.
        self._tensors: dict[int, tuple[int, int]] = {}
        self._scratch: dict[int, tuple[int, int]] = {}
        if apart:
            self._take_apart()
        else:
            size_bytes = max(arena_bytes(plan), bytes_apart(plan))
            life = Buffer(size_bytes, -1, len(plan.steps))
            self._blocks.append(_Block(life, "the arena"))
            self._tensors = {tensor: (0, offset) for tensor, offset in plan.offsets.items()}
            self._scratch = {step: (0, offset) for step, offset in plan.scratch.items()}

    def _take_apart(self) -> None:
        written = {tensor.index: step for step in self.plan.steps for tensor in step.writes}
        for life, tensors in activation_owners(self.plan):
            step = written.get(tensors[0])
            what = f"the output of layer {step.index} ({step.op})" if step else "an input"
            self._tensors |= {tensor: (len(self._blocks), 0) for tensor in tensors}
            self._blocks.append(_Block(life, what))
        for step in self.plan.steps:
            if step.scratch_bytes:
                self._scratch[step.index] = (len(self._blocks), 0)
                life = Buffer(step.scratch_bytes, step.index, step.index)
                self._blocks.append(_Block(life, f"the working memory of layer {step.index} ({step.op})"))

    def summary(self) -> list[str]:
        return [f"Activations are {len(self._blocks)} blocks on a heap of {len(self._regions)} regions."]

    def storage(self) -> list[str]:
        names = [f"region_{index}" for index in range(len(self._regions))]
        blocks = [
            f"    {{NULL, NULL, {block.life.size_bytes}u, {block.life.first}, {block.life.last},\n"
            f'     "{NO_ROOM} {block.what}, {block.life.size_bytes} bytes"}},'
            for block in self._blocks
        ]
        return [
            *(
                f"static uint8_t {name}[{size}] __attribute__((aligned(16)));"
                for name, size in zip(names, self._regions, strict=True)
            ),
            "static const heap_region regions[] = {",
            *(f"    {{{name}, sizeof {name}}}," for name in names),
            "};",
            "static heap_block blocks[] = {",
            *blocks,
            "};",
            f"static region_heap heap = {{regions, blocks, {len(names)}, {len(blocks)}, 0}};",
            "/* Whether a network ran since the heap was last as before it. */",
            "static bool spent;",
        ]

    def at(self, tensor: Tensor) -> str:
        return _pointer(*self._tensors[tensor.index])

    def scratch_at(self, step: Step) -> str:
        return _pointer(*self._scratch[step.index])

    def tables(self) -> list[str]:
        graph = self.plan.graph
        written = [step.writes[0].index for step in self.plan.steps]
        lines = []
        for name, indices in (("input", graph.inputs), ("output", graph.outputs), ("layer", written)):
            lines += number_table(f"{name}_block", [self._tensors[index][0] for index in indices])
            lines += number_table(f"{name}_offset", [self._tensors[index][1] for index in indices])
        return lines

    def bodies(self) -> Mapping[str, str]:
        return {
            "INIT": "    return heap_restart(&heap);",
            "INPUT_DATA": _INPUT_DATA,
            "OUTPUT_DATA": "    return blocks[output_block[index]].data + output_offset[index];",
            "LAYER_DATA": "    return blocks[layer_block[index]].data + layer_offset[index];",
            "BEFORE_LAYER": _BEFORE_LAYER,
            "AFTER_LAYER": "        heap_end(&heap, index);",
            "MEMORY": f"    memory->arena_bytes = {sum(self._regions)}u;\n"
            "    memory->arena_used_bytes = heap.most_used_bytes;",
        }


def _pointer(block: int, offset: int) -> str:
    return f"(void *)(blocks[{block}].data + {offset})" if offset else f"(void *)blocks[{block}].data"


_INPUT_DATA = """\
    if (spent) {
        spent = false;
        (void)heap_restart(&heap);
    }
    return blocks[input_block[index]].data + input_offset[index];"""

_BEFORE_LAYER = """\
        const char *refusal = heap_begin(&heap, index);
        spent = true;
        if (refusal != NULL) {
            return refusal;
        }"""
