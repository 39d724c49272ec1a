#pragma once

#include "dl_layer_model.hpp"
#include <string.h>

namespace dl {
namespace layer {
template <typename feature_t> class Reshape : public HostLayer<feature_t> {
  private:
    const std::vector<int> shape;

  public:
    Reshape(std::vector<int> shape, const char *name = "") : shape(shape) {
        (void)name;
    }

    void build(Tensor<feature_t> &input) {
        this->output.set_shape(shape).set_exponent(input.exponent);
        assert(this->output.get_size() == input.get_size());
        this->output.free_element();
    }

    void call(Tensor<feature_t> &input) {
        this->output.malloc_element();
        memcpy(this->output.element, input.get_element_ptr(), (size_t)input.get_size() * sizeof(feature_t));
    }
};
} // namespace layer
} // namespace dl
