/* Sigmoid and what Softmax shares with it: floating-point output, exp_fast as on the chip. */
#pragma once

#include "dl_layer_model.hpp"
#include <math.h>

namespace dl {
namespace math {
inline float exp_fast(float x, int steps = 8) {
    x = (float)(1.0 + (double)(x / (float)(1 << steps)));
    for (int i = 0; i < steps; i++)
        x *= x;
    return x;
}
} // namespace math

namespace layer {
template <typename I> class HostFloatLayer : public HostLayer<float> {
  protected:
    float scale = 0.0f;

  public:
    HostFloatLayer(const int output_exponent, const char *name) {
        (void)output_exponent;
        (void)name;
    }

    void build(Tensor<I> &input) {
        this->scale = ldexpf(1.0f, input.exponent);
        this->output.set_shape(input.shape);
        this->output.free_element();
    }
};

template <typename I> class Sigmoid : public HostFloatLayer<I> {
  public:
    Sigmoid(const int output_exponent, const char *name = "") : HostFloatLayer<I>(output_exponent, name) {
    }

    void call(Tensor<I> &input) {
        this->output.malloc_element();
        const I *in = input.get_element_ptr();
        for (int i = 0; i < input.get_size(); i++) {
            const float value = math::exp_fast((float)in[i] * this->scale);
            this->output.element[i] = value / (value + 1.0f);
        }
    }
};
} // namespace layer
} // namespace dl
