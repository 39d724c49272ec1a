"""The firmware's heap of several regions, compiled for this machine, against `harness.fit.regions`."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.fit.regions import place
from harness.portable.memory import Buffer

HEADERS = Path(__file__).parents[2] / "firmware" / "runtimes" / "portable"
LAYERS = 6
SOURCE = """
#include <stdlib.h>
#include <string.h>
#include "region_heap.h"

/* Runs `layers` layers, each block filled when it is taken. Which block found no room; -1: none;
 * -2: a block was written over. used[r]: of a region at its fullest. */
int t_run(const uint32_t *sizes, uint32_t regions, const uint32_t *bytes, const int32_t *first,
          const int32_t *last, uint32_t count, int32_t layers, uint32_t *used) {
    heap_region *held = calloc(regions, sizeof *held);
    heap_block *blocks = calloc(count, sizeof *blocks);
    char *names = calloc(count, 1);
    int result = -1;

    for (uint32_t r = 0; r < regions; r++) {
        held[r] = (heap_region){aligned_alloc(16, (sizes[r] + 15u) / 16u * 16u), sizes[r]};
    }
    for (uint32_t i = 0; i < count; i++) {
        blocks[i] = (heap_block){NULL, NULL, bytes[i], first[i], last[i], names + i};
    }
    region_heap heap = {held, blocks, regions, count, 0};
    const char *refusal = heap_restart(&heap);
    for (int32_t layer = -1; layer < layers; layer++) {
        refusal = layer < 0 ? refusal : heap_begin(&heap, layer);
        for (uint32_t i = 0; i < count; i++) {
            if (blocks[i].data == NULL) {
                continue;
            }
            const uint32_t r = (uint32_t)(blocks[i].region - held);
            const uint32_t begin = (uint32_t)(blocks[i].data - held[r].start) - REGION_HEAP_BLOCK_OVERHEAD;
            const uint32_t end = begin + heap_block_size(&blocks[i]);
            used[r] = end > used[r] ? end : used[r];
            if (first[i] == layer) {
                memset(blocks[i].data, (int)i + 1, bytes[i]);
            }
        }
        for (uint32_t i = 0; i < count; i++) {
            for (uint32_t at = 0; blocks[i].data != NULL && at < bytes[i]; at++) {
                result = blocks[i].data[at] == (uint8_t)(i + 1) ? result : -2;
            }
        }
        if (refusal != NULL) {
            result = result == -2 ? -2 : (int)(refusal - names);
            break;
        }
        heap_end(&heap, layer);
    }
    for (uint32_t r = 0; r < regions; r++) {
        free(held[r].start);
    }
    free(held);
    free(blocks);
    free(names);
    return result;
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    directory = tmp_path_factory.mktemp("region_heap")
    (directory / "heap.c").write_text(SOURCE, encoding="utf-8")
    flags = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC")
    library = directory / "heap.so"
    subprocess.run(["gcc", *flags, f"-I{HEADERS}", directory / "heap.c", "-o", library], check=True)
    return ctypes.CDLL(str(library)).t_run


@st.composite
def buffers(draw: st.DrawFn) -> Buffer:
    first = draw(st.integers(-1, LAYERS - 1))
    return Buffer(draw(st.integers(1, 400)), first, draw(st.integers(first, LAYERS)))


@given(
    regions=st.lists(st.integers(16, 900), min_size=1, max_size=4),
    blocks=st.lists(buffers(), min_size=1, max_size=12).map(
        lambda found: sorted(found, key=lambda b: b.first)
    ),
)
def test_it_takes_and_refuses_as_the_fit_reckons(
    run: ctypes.CDLL, regions: list[int], blocks: list[Buffer]
) -> None:
    expected = place(blocks, regions)
    used = (ctypes.c_uint32 * len(regions))()
    lost = run(
        (ctypes.c_uint32 * len(regions))(*regions),
        len(regions),
        *(
            (kind * len(blocks))(*values)
            for kind, values in (
                (ctypes.c_uint32, [block.size_bytes for block in blocks]),
                (ctypes.c_int32, [block.first for block in blocks]),
                (ctypes.c_int32, [block.last for block in blocks]),
            )
        ),
        len(blocks),
        LAYERS,
        used,
    )
    assert tuple(used) == expected.used
    assert lost == next((index for index, block in enumerate(blocks) if block is expected.lost), -1)
