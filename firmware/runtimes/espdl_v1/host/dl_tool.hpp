/* Memory and latency, as generated projects use them; the latency on a PC means nothing for a chip. */
#pragma once

#include "dl_define.hpp"
#include <chrono>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

namespace dl {
namespace tool {
inline void *malloc_aligned_prefer(int number, int size, int align = 4) {
    (void)align;
    return malloc((size_t)number * (size_t)size);
}

class Latency {
  private:
    std::chrono::steady_clock::time_point begin;
    uint32_t period = 0;

  public:
    void start() {
        begin = std::chrono::steady_clock::now();
    }

    void end() {
        const auto passed = std::chrono::steady_clock::now() - begin;
        period = (uint32_t)std::chrono::duration_cast<std::chrono::microseconds>(passed).count();
    }

    void print(const char *prefix, const char *key) const {
        printf("%s::%s: %u us\n", prefix, key, (unsigned)period);
    }
};
} // namespace tool
} // namespace dl
