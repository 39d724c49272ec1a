/*
 * The class names of esp-dl v1 over plain arithmetic: generated v1 projects compile and run on a PC.
 * Written from the published headers' interface and the numerics measured on chips; there is no
 * vector code here, and only what harness/runtimes/espdl_v1 generates is covered.
 */
#pragma once

#define DL_CLIP(x, low, high) ((x) < (low) ? (low) : ((x) > (high) ? (high) : (x)))

namespace dl {
typedef enum { Linear, ReLU, LeakyReLU, PReLU } activation_type_t;
typedef enum { PADDING_NOT_SET, PADDING_VALID, PADDING_SAME_BEGIN, PADDING_SAME_END } padding_type_t;
} // namespace dl
