/* Softmax over the last axis, with floating-point output. */
#pragma once

#include "dl_layer_sigmoid.hpp"

namespace dl {
namespace layer {
template <typename I> class Softmax : public HostFloatLayer<I> {
  public:
    Softmax(const int output_exponent, const char *name = "") : HostFloatLayer<I>(output_exponent, name) {
    }

    void call(Tensor<I> &input) {
        this->output.malloc_element();
        const int channels = input.shape[2];
        const I *in = input.get_element_ptr();
        float *out = this->output.element;
        for (int row = 0; row < input.get_size() / channels; row++, in += channels, out += channels) {
            I largest = in[0];
            for (int i = 1; i < channels; i++)
                largest = in[i] > largest ? in[i] : largest;
            float sum = 0.0f;
            for (int i = 0; i < channels; i++) {
                out[i] = math::exp_fast(((float)in[i] - (float)largest) * this->scale);
                sum += out[i];
            }
            sum = (float)(1.0 / (double)sum);
            for (int i = 0; i < channels; i++)
                out[i] *= sum;
        }
    }
};
} // namespace layer
} // namespace dl
