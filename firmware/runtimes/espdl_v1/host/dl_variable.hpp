/* A tensor: elements, exponent, shape. A layer that reads freed elements stops the program. */
#pragma once

#include "dl_tool.hpp"
#include <assert.h>
#include <stddef.h>
#include <vector>

namespace dl {
template <typename T> class Tensor {
  private:
    int size;
    bool auto_free;

  public:
    T *element;
    int exponent;
    std::vector<int> shape;

    Tensor() : size(0), auto_free(true), element(NULL), exponent(0) {
    }
    /* v1 models initialise their layers by copy, which compilers elide; there is nothing to copy yet. */
    Tensor(const Tensor<T> &other) : Tensor() {
        assert(other.element == NULL && other.size == 0);
        (void)other;
    }
    Tensor<T> &operator=(const Tensor<T> &) = delete;
    ~Tensor() {
        this->free_element();
    }

    Tensor<T> &set_auto_free(const bool auto_free) {
        this->auto_free = auto_free;
        return *this;
    }

    Tensor<T> &set_element(T *element, const bool auto_free = false) {
        assert(this->element == NULL);
        this->element = element;
        this->auto_free = auto_free;
        return *this;
    }

    Tensor<T> &set_exponent(const int exponent) {
        this->exponent = exponent;
        return *this;
    }

    Tensor<T> &set_shape(const std::vector<int> shape) {
        this->shape = shape;
        this->size = 1;
        for (const int length : shape)
            this->size *= length;
        return *this;
    }

    T *get_element_ptr() {
        assert(this->element != NULL);
        return this->element;
    }

    int get_size() const {
        return this->size;
    }

    bool malloc_element() {
        if (this->element != NULL)
            return false;
        this->element = (T *)tool::malloc_aligned_prefer(this->size, sizeof(T), 16);
        this->auto_free = true;
        return true;
    }

    void free_element() {
        if (this->auto_free && this->element) {
            free(this->element);
            this->element = NULL;
        }
    }
};
} // namespace dl
