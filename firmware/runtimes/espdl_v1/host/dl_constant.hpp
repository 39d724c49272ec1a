/* Constants of a model: filters in the chip's element order, biases, activations. */
#pragma once

#include "dl_define.hpp"
#include <stddef.h>
#include <stdint.h>
#include <vector>

namespace dl {
template <typename T> class Constant {
  public:
    const T *element;
    const int exponent;
    const std::vector<int> shape;

    Constant(const T *element, const int exponent, const std::vector<int> shape)
        : element(element), exponent(exponent), shape(shape) {
    }
};

template <typename T> class Filter : public Constant<T> {
  public:
    const std::vector<int> dilation;
    const int8_t *channel_exponent;
    const int channel_exponent_size;

    Filter(const T *element, const int exponent, const std::vector<int> shape,
           const std::vector<int> dilation = {1, 1})
        : Constant<T>(element, exponent, shape), dilation(dilation), channel_exponent(NULL),
          channel_exponent_size(0) {
    }

    Filter(const T *element, const int8_t *channel_exponent, const int channel_exponent_size,
           const std::vector<int> shape, const std::vector<int> dilation = {1, 1})
        : Constant<T>(element, 0, shape), dilation(dilation), channel_exponent(channel_exponent),
          channel_exponent_size(channel_exponent_size) {
    }

    /* The element of output `channel` (of `channels`) at flat [kh][kw][in] position `at` of `depth`. */
    T weight(const int channel, const int channels, const int at, const int depth) const {
#ifdef CONFIG_IDF_TARGET_ESP32S3
        const int block = 16 / (int)sizeof(T);
        const int whole = channels - channels % block;
        if (channel < whole)
            return this->element[(channel / block * depth + at) * block + channel % block];
        return this->element[channel * depth + at];
#else
        (void)channels;
        return this->element[channel * depth + at];
#endif
    }

    int exponent_of(const int channel) const {
        return this->channel_exponent ? this->channel_exponent[channel] : this->exponent;
    }
};

template <typename T> class Bias : public Constant<T> {
  public:
    using Constant<T>::Constant;
};

template <typename T> class Activation : public Constant<T> {
  public:
    const activation_type_t type;

    Activation(const activation_type_t type, const T *element = NULL, const int exponent = 0,
               const std::vector<int> shape = {0})
        : Constant<T>(element, exponent, shape), type(type) {
    }
};
} // namespace dl
