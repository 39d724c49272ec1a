#pragma once

#include "dl_layer_conv2d.hpp"

namespace dl {
namespace layer {
template <typename feature_t, typename bias_t = feature_t>
class DepthwiseConv2D : public HostConv<feature_t, bias_t, true> {
  public:
    using HostConv<feature_t, bias_t, true>::HostConv;
};
} // namespace layer
} // namespace dl
