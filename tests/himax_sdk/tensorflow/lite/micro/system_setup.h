/* Stands in for TFLM's. */
#ifndef STAND_IN_SYSTEM_SETUP_H
#define STAND_IN_SYSTEM_SETUP_H

namespace tflite {
inline void InitializeTarget() {
}
} // namespace tflite

#endif
