/* Stands in for TFLM's: a model is right when it is a .tflite file, and aligned. */
#ifndef STAND_IN_SCHEMA_GENERATED_H
#define STAND_IN_SCHEMA_GENERATED_H

#include <stdint.h>
#include <string.h>

namespace tflite {

class Model {
  public:
    int version() const {
        const unsigned char *file = reinterpret_cast<const unsigned char *>(this);
        return memcmp(file + 4, "TFL3", 4) == 0 && (uintptr_t)file % 16 == 0 ? 3 : 0;
    }
};

inline const Model *GetModel(const void *data) {
    return static_cast<const Model *>(data);
}

} // namespace tflite

#endif
