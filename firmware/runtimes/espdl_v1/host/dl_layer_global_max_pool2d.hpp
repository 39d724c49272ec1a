/* GlobalMaxPool2D: the largest value of each channel. */
#pragma once

#include "dl_layer_model.hpp"

namespace dl {
namespace layer {
template <typename feature_t> class GlobalMaxPool2D : public HostLayer<feature_t> {
  public:
    GlobalMaxPool2D(const char *name = "") {
        (void)name;
    }

    void build(Tensor<feature_t> &input) {
        assert(input.shape.size() == 3);
        this->output.set_shape({1, 1, input.shape[2]}).set_exponent(input.exponent);
        this->output.free_element();
    }

    void call(Tensor<feature_t> &input) {
        this->output.malloc_element();
        feature_t *out = this->output.get_element_ptr();
        const feature_t *in = input.get_element_ptr();
        const int channels = input.shape[2];
        for (int channel = 0; channel < channels; channel++)
            out[channel] = in[channel];
        for (int i = channels; i < input.get_size(); i++)
            out[i % channels] = in[i] > out[i % channels] ? in[i] : out[i % channels];
    }
};
} // namespace layer
} // namespace dl
