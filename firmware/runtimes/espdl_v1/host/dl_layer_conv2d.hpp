/* Conv2D and what DepthwiseConv2D shares with it: 64-bit sums, floor shift, bias, saturation. */
#pragma once

#include "dl_layer_model.hpp"
#include <limits>

namespace dl {
namespace layer {
inline int64_t floor_shift(const int64_t value, const int shift) {
    return shift >= 0 ? value >> shift : value * ((int64_t)1 << -shift);
}

template <typename feature_t, typename bias_t, bool depthwise> class HostConv : public HostLayer<feature_t> {
  private:
    const int output_exponent;
    const Filter<feature_t> *filter;
    const Bias<bias_t> *bias;
    const Activation<feature_t> *activation;
    const padding_type_t padding_type;
    const std::vector<int> padding;
    const int stride[2];

  public:
    HostConv(const int output_exponent, const Filter<feature_t> *filter, const Bias<bias_t> *bias = NULL,
             const Activation<feature_t> *activation = NULL,
             const padding_type_t padding_type = PADDING_VALID, std::vector<int> padding = {},
             const int stride_y = 1, const int stride_x = 1, const char *name = "")
        : output_exponent(output_exponent), filter(filter), bias(bias), activation(activation),
          padding_type(padding_type),
          padding(padding_type == PADDING_NOT_SET ? padding : std::vector<int>(4, 0)), stride{stride_y,
                                                                                              stride_x} {
        (void)name;
        assert(this->padding.size() == 4);
        assert(padding_type == PADDING_NOT_SET || padding_type == PADDING_VALID);
    }

    void build(Tensor<feature_t> &input) {
        assert(input.shape.size() == 3 && input.shape[2] == filter->shape[2]);
        std::vector<int> shape(3);
        for (int axis = 0; axis < 2; axis++) {
            const int reach = (filter->shape[axis] - 1) * filter->dilation[axis] + 1;
            const int padded = input.shape[axis] + padding[2 * axis] + padding[2 * axis + 1];
            shape[axis] = (padded - reach) / stride[axis] + 1;
        }
        shape[2] = depthwise ? filter->shape[2] : filter->shape[3];
        assert(bias == NULL || bias->shape[0] == shape[2]);
        this->output.set_shape(shape).set_exponent(output_exponent);
        this->output.free_element();
    }

    void call(Tensor<feature_t> &input) {
        this->output.malloc_element();
        feature_t *out = this->output.get_element_ptr();
        const std::vector<int> &shape = this->output.shape;
        for (int y = 0; y < shape[0]; y++)
            for (int x = 0; x < shape[1]; x++)
                for (int channel = 0; channel < shape[2]; channel++)
                    *out++ = this->finish(this->sum(input, y, x, channel), channel, input.exponent);
    }

  private:
    int64_t sum(Tensor<feature_t> &input, const int y, const int x, const int channel) const {
        const int height = filter->shape[0], width = filter->shape[1], channels = this->output.shape[2];
        const int inner = depthwise ? 1 : filter->shape[2], depth = height * width * inner;
        const feature_t *in = input.get_element_ptr();
        int64_t total = 0;
        for (int ky = 0; ky < height; ky++)
            for (int kx = 0; kx < width; kx++) {
                const int from_y = y * stride[0] + ky * filter->dilation[0] - padding[0];
                const int from_x = x * stride[1] + kx * filter->dilation[1] - padding[2];
                if (from_y < 0 || from_x < 0 || from_y >= input.shape[0] || from_x >= input.shape[1])
                    continue;
                const int from = (from_y * input.shape[1] + from_x) * input.shape[2];
                for (int i = 0; i < inner; i++) {
                    const int at = (ky * width + kx) * inner + i;
                    const int64_t value = in[from + (depthwise ? channel : i)];
                    total += value * filter->weight(channel, channels, at, depth);
                }
            }
        return total;
    }

    feature_t finish(const int64_t total, const int channel, const int input_exponent) const {
        const int64_t low = std::numeric_limits<feature_t>::min(),
                      high = std::numeric_limits<feature_t>::max();
        const int64_t added = bias ? bias->element[channel] : 0;
        const int shift = output_exponent - input_exponent - filter->exponent_of(channel);
        int64_t value = filter->channel_exponent ? floor_shift(floor_shift(total, 4) + added, shift - 4)
                                                 : floor_shift(total, shift) + added;
        value = DL_CLIP(value, low, high);
        if (activation && value < 0) {
            const int64_t slope = activation->type == LeakyReLU ? activation->element[0] : 0;
            const int64_t scaled = floor_shift(value * slope, -activation->exponent);
            value = DL_CLIP(scaled, low, high);
        }
        return (feature_t)value;
    }
};

template <typename feature_t, typename bias_t = feature_t>
class Conv2D : public HostConv<feature_t, bias_t, false> {
  public:
    using HostConv<feature_t, bias_t, false>::HostConv;
};
} // namespace layer
} // namespace dl
