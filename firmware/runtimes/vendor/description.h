/*
 * The half of engine.h that every vendor engine has in common: what the model
 * image says of itself. The engine does the other half: memory and running.
 */
#ifndef DESCRIPTION_H
#define DESCRIPTION_H

#include "model_image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the model and makes the tables behind engine_get_info(), engine_input(), engine_output()
 * and engine_get_layer(). `kernels`: "vendor" or a variant of it. NULL, or why it cannot run. */
const char *description_load(const char *runtime, const char *kernels);

/* After a successful description_load(). */
const model_image *description_image(void);

#ifdef __cplusplus
}
#endif

#endif
