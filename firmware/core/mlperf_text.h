/* What the dialect of mlperf.h writes: text, numbers, errors, the network's outputs. */
#ifndef MLPERF_TEXT_H
#define MLPERF_TEXT_H

#include <stdbool.h>
#include <stdint.h>

void mlperf_text(const char *text);
void mlperf_number(uint64_t value);
/* Text that came from outside: a square bracket would end the field it stands in. */
void mlperf_field(const char *text);
void mlperf_error(const char *why);

/* false if an output is of a type whose values are not printed. */
bool mlperf_can_print_outputs(void);
/* Real values, (q - zero_point) * scale, with three decimals, in one line. */
void mlperf_print_outputs(void);

#endif
