/* MaxPool2D without padding. */
#pragma once

#include "dl_layer_model.hpp"

namespace dl {
namespace layer {
template <typename feature_t> class MaxPool2D : public HostLayer<feature_t> {
  private:
    const std::vector<int> window;
    const int stride[2];

  public:
    MaxPool2D(const std::vector<int> filter_shape, const padding_type_t padding_type = PADDING_VALID,
              std::vector<int> padding = {}, const int stride_y = 1, const int stride_x = 1,
              const char *name = "")
        : window(filter_shape), stride{stride_y, stride_x} {
        (void)name;
        assert(padding_type == PADDING_VALID && padding.empty());
    }

    void build(Tensor<feature_t> &input) {
        assert(input.shape.size() == 3);
        const int height = (input.shape[0] - window[0]) / stride[0] + 1;
        const int width = (input.shape[1] - window[1]) / stride[1] + 1;
        this->output.set_shape({height, width, input.shape[2]}).set_exponent(input.exponent);
        this->output.free_element();
    }

    void call(Tensor<feature_t> &input) {
        this->output.malloc_element();
        feature_t *out = this->output.get_element_ptr();
        const feature_t *in = input.get_element_ptr();
        const std::vector<int> &shape = this->output.shape;
        for (int y = 0; y < shape[0]; y++)
            for (int x = 0; x < shape[1]; x++)
                for (int channel = 0; channel < shape[2]; channel++) {
                    const int corner = (y * stride[0] * input.shape[1] + x * stride[1]) * shape[2] + channel;
                    feature_t largest = in[corner];
                    for (int ky = 0; ky < window[0]; ky++)
                        for (int kx = 0; kx < window[1]; kx++) {
                            const feature_t value = in[corner + (ky * input.shape[1] + kx) * shape[2]];
                            largest = value > largest ? value : largest;
                        }
                    *out++ = largest;
                }
    }
};
} // namespace layer
} // namespace dl
