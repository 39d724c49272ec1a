/* The base class of every v1 model: the first forward() builds, each one calls. */
#pragma once

#include "dl_constant.hpp"
#include "dl_variable.hpp"

namespace dl {
namespace layer {
template <typename feature_t> class Model {
  private:
    std::vector<int> input_shape;

  public:
    virtual ~Model() {
    }
    virtual void build(Tensor<feature_t> &input) = 0;
    virtual void call(Tensor<feature_t> &input) = 0;

    void forward(Tensor<feature_t> &input) {
        if (input.shape != this->input_shape) {
            this->input_shape = input.shape;
            this->build(input);
        }
        this->call(input);
    }
};

/* What all layers have: an output that lives between call() and free_element(). */
template <typename O> class HostLayer {
  protected:
    Tensor<O> output;

  public:
    Tensor<O> &get_output() {
        return this->output;
    }
};
} // namespace layer
} // namespace dl
