#pragma once

#include "dl_layer_model.hpp"

namespace dl {
namespace layer {
template <typename feature_t> class Relu : public HostLayer<feature_t> {
  public:
    Relu(const char *name = "") {
        (void)name;
    }

    void build(Tensor<feature_t> &input) {
        this->output.set_shape(input.shape).set_exponent(input.exponent);
        this->output.free_element();
    }

    void call(Tensor<feature_t> &input) {
        this->output.malloc_element();
        const feature_t *in = input.get_element_ptr();
        for (int i = 0; i < input.get_size(); i++)
            this->output.element[i] = (feature_t)(in[i] > 0 ? in[i] : 0);
    }
};
} // namespace layer
} // namespace dl
